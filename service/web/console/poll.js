// Work that is done again and again while the tab is to be seen.

import { NetworkError } from "./api.js";
import { explain } from "./words.js";

// `work` is awaited at once and then `seconds` after it has ended; it returns how long to wait at
// least, or nothing. Ends with the signal.
export function poll({ seconds, signal, work }) {
  let timer = null;
  let working = false;
  let due = 0; // not before, even when the tab is shown again

  async function run() {
    if (working || signal.aborted || document.hidden) return;
    clearTimeout(timer);
    const early = due - Date.now();
    if (early > 0) {
      timer = setTimeout(run, early);
      return;
    }
    working = true;
    const wait = (await work()) ?? 0;
    working = false;
    due = Date.now() + 1000 * wait;
    if (!signal.aborted) timer = setTimeout(run, 1000 * Math.max(seconds, wait));
  }

  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
}

// Work for `poll` whose failures are shown beside what it updates: each of them in an alert would be
// too much. Failures that mean that the caller is no operator any more end in another view.
export function quietly(app, note, work) {
  return async () => {
    try {
      await work();
      return 0;
    } catch (error) {
      if (error.name === "AbortError" || (await app.hasLostAccess(error))) return 0;
      const words = error instanceof NetworkError ? "The service does not answer: trying again." : explain(error);
      // Spoken once, and not each time.
      if (note.textContent !== words) note.textContent = words;
      return error.retryAfter ?? 0;
    }
  };
}
