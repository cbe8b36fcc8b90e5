// What all views do: requests, deeds, and failures in plain words.

import { Api } from "./api.js";
import { ask } from "./dialog.js";
import { complain, say } from "./frame.js";
import { Names } from "./names.js";
import { askForProof } from "./proof.js";
import { explain } from "./words.js";

// The person closed a dialog, so that nothing was done.
class GaveUp extends Error {}

export class App {
  api = new Api();
  names = new Names(this.api);

  // `onEnded` is called with a 401, and returns whether there was a login that has ended. `onDoubt` is
  // called after a 403, and returns whether the caller may go on; when not, it has shown why.
  constructor({ onEnded, onDoubt }) {
    this.onEnded = onEnded;
    this.onDoubt = onDoubt;
  }

  // Do what the person asked for, and show why when it fails. A button that is pressed twice does it once.
  async attempt(work, button) {
    if (button?.getAttribute("aria-disabled") === "true") return;
    button?.setAttribute("aria-disabled", "true");
    try {
      say("");
      await work();
    } catch (error) {
      await this.fail(error);
    } finally {
      button?.removeAttribute("aria-disabled");
    }
  }

  async fail(error) {
    // A view that was left wants no answer any more.
    if (error instanceof GaveUp || error.name === "AbortError") return;
    if (await this.hasLostAccess(error)) return;
    complain(explain(error));
  }

  // Whether a failure means that the caller is no operator any more, which is then shown.
  async hasLostAccess(error) {
    if (error.status === 401) return this.onEnded(error);
    const doubtful = error.status === 403 && [null, "second_factor_required"].includes(error.reason);
    return doubtful && !(await this.onDoubt());
  }

  // Send a request that may need a fresh session: where it is not, the person proves again who they
  // are, and the request is sent once more. Throws GaveUp.
  async send(method, path, options) {
    try {
      return await this.api.request(method, path, options);
    } catch (error) {
      if (error.reason !== "step_up_required") throw error;
      await this.stepUp(error.body.methods, "Your sign-in was some time ago, and this is about an account's protection.");
      return this.api.request(method, path, options);
    }
  }

  async stepUp(methods, text) {
    const done = await askForProof({
      title: "Confirm that it is you",
      text,
      methods,
      send: (proof) => this.api.request("POST", "/auth/step-up", { body: proof }),
      passkeyOptions: () => this.api.request("POST", "/auth/step-up/options"),
    });
    if (!done) throw new GaveUp();
  }

  // Ask, do it and say so; `question` is that of `ask`. Returns what the service answered.
  async deed(question, method, path, { body, done }) {
    if (!(await ask(question))) throw new GaveUp();
    const answer = await this.send(method, path, { body });
    say(typeof done === "function" ? done(answer) : done);
    return answer;
  }
}
