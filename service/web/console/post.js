// The view of one post.

import { facts, h, showTime } from "./dom.js";
import { address } from "./filters.js";
import { setTitle, showView } from "./frame.js";
import { postBadge, postButton } from "./post-deeds.js";

export function showPost({ app, id, signal }) {
  const about = h("div", {}, h("p", { class: "quiet" }, "Loading …"));
  const heading = showView("Post", h("p", {}, h("a", { href: "#/posts" }, "All posts")), about);
  const refresh = async () => {
    const post = await app.api.get(`/admin/posts/${encodeURIComponent(id)}`, { signal });
    const focused = about.contains(document.activeElement);
    heading.textContent = post.title;
    setTitle(`${post.title} – Posts`);
    const button = postButton(app, post, refresh);
    about.replaceChildren(postFacts(post), h("p", {}, button), h("h2", {}, "Text"), h("p", { class: "content" }, post.content));
    if (focused) button.focus();
  };
  app.attempt(async () => {
    try {
      await refresh();
    } catch (error) {
      if (error.status !== 404) {
        about.replaceChildren(h("p", {}, "The post could not be read."));
        throw error;
      }
      about.replaceChildren(h("p", {}, "There is no such post, or it is gone for good."));
    }
  });
}

function postFacts(post) {
  return facts([
    ["Author", h("a", { href: address("users", { q: post.author }) }, post.author)],
    ["State", postBadge(post)],
    ["Written", showTime(post.created_at)],
    ["Changed", post.updated_at === post.created_at ? "never" : showTime(post.updated_at)],
    ...(post.deleted_at ? [["Gone since", showTime(post.deleted_at)]] : []),
    ["Version", String(post.version)],
    ["Id", h("code", {}, post.id)],
  ]);
}
