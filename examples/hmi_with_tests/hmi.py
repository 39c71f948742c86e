"""A panel for a press, small enough to be read in a minute. It knows nothing of Modbus.

python hmi.py [endpoint]
"""

import sys
import time

from press import START, STOP, Press, State

from msm import ModbusClient, WriteError

MOST_PRESSURE = 6.0  # bar


class Panel:
    """What the buttons do, and what the display shows."""

    def __init__(self, press: Press, client: ModbusClient) -> None:
        self.press = press
        self.client = client
        self.message = ""

    def start(self, speed: float) -> None:
        """The start button: set the speed, then start."""
        self.message = ""
        try:
            self.press.set_speed = speed
            self.client.flush()
            self.press.command = START
            self.client.flush()
        except WriteError as error:
            self.message = f"not started: {error.failures[0][1]}"
        except TimeoutError:
            self.message = "not started: the press does not answer"

    def stop(self) -> None:
        """The stop button."""
        self.press.command = STOP

    def watch_pressure(self) -> None:
        """Called now and then: too much pressure stops the press."""
        if self.press.state is State.RUNNING and self.press.pressure > MOST_PRESSURE:
            self.stop()
            self.message = f"stopped: {self.press.pressure:.1f} bar"

    def display(self) -> str:
        """One line for the operator. A value that is not fresh is never shown as if it were."""
        info = self.press.info("speed")
        speed = f"{info.value:.0f} rpm" if info.quality == "good" else "--- rpm"
        return f"{self.press.state.name:8} {speed:>8}  {self.message}".rstrip()


def main() -> None:
    endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://localhost:5020"
    press = Press()
    client = ModbusClient(press, endpoint, period=0.1)
    client.run(wait=0)
    panel = Panel(press, client)
    try:
        while True:
            panel.watch_pressure()
            print(panel.display(), flush=True)
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        client.kill()


if __name__ == "__main__":
    main()
