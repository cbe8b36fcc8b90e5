// What posts can be, and removing and restoring one.

import { badge, h } from "./dom.js";
import { isolate } from "./words.js";

// The states of posts, in words and as badges.
export const STATES = { visible: ["visible", "good"], removed: ["removed by an operator", "bad"], deleted: ["deleted by its author", "warn"] };

export function postBadge({ state }) {
  return badge(...(STATES[state] ?? [state]));
}

// The button for what can be done to a post; `changed` is awaited afterwards.
export function postButton(app, post, changed) {
  const removes = post.state === "visible";
  const label = removes ? "Remove" : "Restore";
  const button = h("button", { type: "button", "aria-label": `${label} ${post.title}` }, label);
  const work = removes ? remove : restore;
  button.addEventListener("click", () =>
    app.attempt(async () => {
      await work(app, post);
      await changed();
    }, button),
  );
  return button;
}

function remove(app, { id, author, ...post }) {
  const title = isolate(post.title);
  const question = {
    title: `Remove “${title}”?`,
    text: [`The post of ${author} is seen by nobody any more but operators, and only an operator can restore it.`],
    action: "Remove the post",
  };
  return app.deed(question, "DELETE", `/admin/posts/${id}`, { done: `“${title}” is removed.` });
}

function restore(app, { id, author, state, ...post }) {
  const title = isolate(post.title);
  const whose = state === "deleted" ? `${author} deleted it.` : "An operator removed it.";
  const question = {
    title: `Restore “${title}”?`,
    text: [`${whose} Everybody can read the post of ${author} again.`],
    action: "Restore the post",
  };
  return app.deed(question, "POST", `/admin/posts/${id}/restore`, { done: `“${title}” is restored.` });
}
