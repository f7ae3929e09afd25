"""Python imports this when a process starts: recordings of some names do to their reader what broken decoders do."""

import os
import signal
import sys
import time
from pathlib import Path

if "reading_process" in " ".join(sys.orig_argv):
    from snac_tok.sources.recording import Recording

    read = Recording.read

    def deadly_read(recording, **options):
        """Die, hang or eat memory if the name says so; once only where the name has "once" in it."""
        stem = Path(recording.name).stem
        if "once" in stem:
            flag = Path(os.environ["DEADLY_FLAGS"]) / stem
            if flag.exists():
                return read(recording, **options)
            flag.touch()
        if "crash" in stem:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "killed" in stem:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in stem:
            time.sleep(100)
        if "bomb" in stem:
            bytearray(1 << 45)
        if "strange" in stem:
            raise RuntimeError("bad packet")
        found = read(recording, **options)
        if hasattr(found, "samples"):
            return found
        return halfway(found) if "halfway" in stem else slowly(found) if "slow" in stem else found

    def slowly(sound):
        """Take 0.4 s for each of six blocks."""
        blocks = type(sound).__iter__

        def slow(self):
            for block in blocks(self):
                for part in range(6):
                    time.sleep(0.4)
                    place, rest = divmod(block.num_samples * part, 6)[0], block.num_samples * (part + 1) // 6
                    yield type(block)(samples=block.samples[:, place:rest], sampling_rate=block.sampling_rate)

        sound.__class__ = type("Slow", (type(sound),), {"__iter__": slow})
        return sound

    def halfway(sound):
        """Die after the second block."""
        blocks = type(sound).__iter__

        def dying(self):
            for number, block in enumerate(blocks(self)):
                if number == 2:
                    os.kill(os.getpid(), signal.SIGSEGV)
                yield block

        sound.__class__ = type("Dying", (type(sound),), {"__iter__": dying})
        return sound

    Recording.read = deadly_read
