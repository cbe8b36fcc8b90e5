// Changes of posts as they happen: one event stream for all tabs of this page, always open again.

const KINDS = ["post.created", "post.updated", "post.restored", "post.deleted", "reset"];
const FIRST_WAIT = 1_000; // milliseconds
const LONGEST_WAIT = 30_000;

// Follow the posts of a service. `listen` gets {kind: "open", fresh}, {kind: "lost"}, and each event
// as {kind, data}. A fresh stream begins now: what happened before, it does not send.
// Returns the function that ends it.
export function follow(origin, listen) {
  // Chrome on Android has no shared workers.
  if (!("SharedWorker" in globalThis)) return keepOpen(origin, listen);
  const script = new URL("stream-worker.js", import.meta.url);
  const { port } = new SharedWorker(script, { type: "module", name: origin });
  port.addEventListener("message", (event) => listen(event.data));
  port.start();
  return () => {
    port.postMessage("leave");
    port.close();
  };
}

// Keep one stream open, for this page or worker alone.
export function keepOpen(origin, listen) {
  let source = null;
  let timer = null;
  let wait = FIRST_WAIT;

  function open() {
    let fresh = true;
    source = new EventSource(`${origin}/api/posts/stream`);
    source.addEventListener("open", () => {
      wait = FIRST_WAIT;
      listen({ kind: "open", fresh });
      fresh = false;
    });
    source.addEventListener("error", () => {
      listen({ kind: "lost" });
      // After a stream that ended, the browser connects again by itself and resumes. After any
      // status but 200, such as a balancer's 503 or a 429, it gives up for good.
      if (source.readyState === EventSource.CLOSED) {
        // Not all clients at once when the service is back.
        timer = setTimeout(open, wait * (0.5 + Math.random()));
        wait = Math.min(2 * wait, LONGEST_WAIT);
      }
    });
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => listen({ kind, data: event.data }));
    }
  }

  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
