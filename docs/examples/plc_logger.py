"""Log every value of a controller, here a simulated one, to Parquet (shmring[parquet]).

The logger is a read-only end: it cannot disturb the link, and nobody notices it.
"""

import struct
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq

import shmring
from shmring.testing.plc import Codesys5, SimulatedPlc

ACTUALS = struct.Struct("<fi")  # REAL and DINT of the controller


def log(link: shmring.netflux.Channel, path: str, rows: int) -> None:
    table = []
    for item in link:
        if isinstance(item, shmring.netflux.Values):  # and no event of the watchdog
            speed, parts = ACTUALS.unpack(item.values)
            table.append({"time_ns": item.timestamp_ns, "speed": speed, "parts": parts})
        if len(table) == rows:
            break
    pq.write_table(pa.Table.from_pylist(table), path)


if __name__ == "__main__":
    parts = count()
    partner = Codesys5(receive=8, send=8)
    partner.program = lambda plc: plc.put(ACTUALS.pack(12.5, next(parts)))
    engine = shmring.Netflux(send=8, receive=8, values=bytes(8))
    with SimulatedPlc(partner) as plc, shmring.Pool() as pool:
        pool.open("press", engine, remote=plc.address)
        with shmring.attach("press", shmring.Netflux(), readonly=True) as link:
            log(link, "press.parquet", rows=50)
    print(pq.read_table("press.parquet").slice(0, 2).to_pylist())
