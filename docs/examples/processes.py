"""A controller, a logger and a plotter: three processes on one channel, 100 packets a second."""

import multiprocessing
import sys

import shmring

PERIOD_NS = 10_000_000


def log(channel: shmring.Channel, count: int) -> None:
    with open("late.csv", "w") as file:
        for sequence in range(count):
            report = channel.verdict(sequence, timeout=10)
            file.write(f"{sequence},{report.verdict},{report.late_ns}\n")


def plot(channel: shmring.Channel) -> None:
    for packet in channel:  # until the controller ends the channel
        print("#" * packet.data[0], flush=True)


def control(channel: shmring.Channel, count: int) -> None:
    start_ns = channel.now_ns() + PERIOD_NS
    for i in range(count):
        channel.send(bytes([i % 40]), at=start_ns + i * PERIOD_NS)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with shmring.Pool() as pool, pool.open("plant", shmring.Local()) as channel:
        logger = multiprocessing.Process(target=log, args=(channel, count))
        plotter = multiprocessing.Process(target=plot, args=(channel,))
        plotter.start()
        control(channel, count)
        logger.start()
        logger.join()
    plotter.join()
