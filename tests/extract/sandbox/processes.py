"""What /proc says of a decoding process."""


def status_of(pid, key):
    with open(f"/proc/{pid}/status") as lines:
        return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))
