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
        except (WriteError, TimeoutError) as error:
            self.message = f"not started, since the speed could not be set: {error}"
            return
        try:
            self.press.command = START
            self.client.flush()
        except (WriteError, TimeoutError) as error:
            # It may have arrived, and only the answer was lost. What the press does is told by its state.
            self.message = f"look at the press: {error}"

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
        state, speed = self.press.info("state"), self.press.info("speed")
        shown_state = getattr(state.value, "name", "?") if state.quality == "good" else "----"
        shown_speed = f"{speed.value:.0f} rpm" if speed.quality == "good" else "--- rpm"
        return f"{shown_state:8} {shown_speed:>8}  {self.message}".rstrip()


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
