// The WebSocket to the server: opened again when it is lost, with pauses that grow.

const FIRST_PAUSE = 500; // milliseconds
const LAST_PAUSE = 5000;
const SILENCE = 8000; // the server says something every second

export class Link {
  /** @param onNews called with each message; @param onState called with true and false, and a reason. */
  constructor(onNews, onState) {
    this.onNews = onNews;
    this.onState = onState;
    this.pause = FIRST_PAUSE;
    this.open();
    setInterval(() => this.heard && performance.now() - this.heard > SILENCE && this.lost("it says nothing"), 1000);
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/live`);
    this.socket = socket;
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      if (!this.heard) this.onState(true, "");
      this.heard = performance.now();
      this.pause = FIRST_PAUSE;
      this.onNews(JSON.parse(event.data));
    };
    socket.onclose = (event) => socket === this.socket && this.lost(event.reason);
  }

  lost(reason) {
    this.socket.close();
    this.socket = null;
    this.heard = 0;
    this.onState(false, reason);
    setTimeout(() => this.retry(), this.pause);
    this.pause = Math.min(this.pause * 1.7, LAST_PAUSE);
  }

  async retry() {
    try {
      // A refused WebSocket does not say why. A server that was started anew may want the token again.
      const answer = await fetch("/alive", { redirect: "manual" });
      if (answer.status === 401) location.reload();
    } catch {
      // it is not there: the attempt below will say so as well
    }
    this.open();
  }

  /** Send; false where there is nobody who would take it. */
  send(message) {
    if (!this.heard) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }
}
