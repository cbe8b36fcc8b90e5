// The worker that all tabs share, one for each service: its name is the service's origin.
// Over HTTP/1.1 a browser opens six connections to a host, and each stream keeps one of them: with
// a stream of its own for each tab, the requests of the seventh would wait for ever.

import { keepOpen } from "./stream.js";

const ports = new Set();
let state = null; // whether the stream is open, for tabs that come later

keepOpen(self.name, (message) => {
  if (message.kind === "open" || message.kind === "lost") state = message;
  for (const port of ports) port.postMessage(message);
});

self.addEventListener("connect", (event) => {
  const [port] = event.ports;
  port.addEventListener("message", () => ports.delete(port));
  port.start();
  ports.add(port);
  if (state) port.postMessage(state);
});
