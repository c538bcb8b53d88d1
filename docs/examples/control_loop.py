"""A control loop with an alarm: every set-point has a deadline, and one that leaves late is named.

In cycle 50 the program stands still for 30 ms, as a garbage collection or a page fault may make it.
"""

import time

import shmring

PERIOD_NS = 5_000_000
AHEAD = 2  # cycles between the computation of a set-point and its deadline


def alarm(report: shmring.SendReport) -> None:
    late_ms = (report.late_ns or 0) / 1e6
    print(f"ALARM: set-point {report.sequence} left {late_ms:.1f} ms late: {report.verdict}")


def main(cycles: int = 100) -> None:
    with shmring.Pool() as pool:
        plant = pool.open("plant", local=("127.0.0.1", 0))  # the machine: it answers with its speed
        drive = pool.open("drive", shmring.Udp(tolerance_ns=2_000_000), remote=plant.local)
        speed, start = 0.0, drive.now_ns() + 20_000_000
        for cycle in range(cycles):
            due = start + cycle * PERIOD_NS
            time.sleep(max(0, due - AHEAD * PERIOD_NS - drive.now_ns()) / 1e9)
            if cycle == 50:
                time.sleep(0.03)
            speed += 0.1 * (100.0 - speed)
            drive.send(b"%.3f" % speed, at=due)
            for report in drive.reports(timeout=0):
                if report.verdict != shmring.Verdict.ON_TIME:
                    alarm(report)
        drive.flush(timeout=5.0)
        print(f"{drive.stats().tx_on_time} of {cycles} set-points on time")


if __name__ == "__main__":
    main()
