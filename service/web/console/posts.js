// The view "Posts": find posts, those that are gone for all others among them.

import { h, labelled, select, showTime } from "./dom.js";
import { address, chosen, filterForm } from "./filters.js";
import { showView } from "./frame.js";
import { STATES, postBadge, postButton } from "./post-deeds.js";
import { CursorTable } from "./table.js";

const CHOICES = [["", "any"], ...Object.entries(STATES).map(([state, [words]]) => [state, words])];

export function showPosts({ app, query, signal }) {
  const parameters = chosen(query, ["q", "author", "state"]);
  const list = new CursorTable({
    app,
    signal,
    path: "/admin/posts",
    member: "posts",
    noun: "post",
    parameters,
    label: "Posts, the newest first",
    columns: ["Post", "Author", "State", "Written", "Action"],
    cells: (post) => postCells(app, post, list),
  });
  const words = h("input", { type: "search", name: "q", value: parameters.q, maxlength: "200", autocomplete: "off" });
  const author = h("input", { name: "author", value: parameters.author, maxlength: "80", autocomplete: "off", spellcheck: "false" });
  const state = select("state", CHOICES, parameters.state);
  const form = filterForm("posts", [labelled("Words", words), labelled("Author", author), labelled("State", state)]);
  showView("Posts", form, list.element);
  app.attempt(() => list.load());
}

function postCells(app, post, list) {
  const changed = async () => list.table.replace(await app.api.get(`/admin/posts/${post.id}`));
  return [
    h("a", { class: "long", href: address(`posts/${post.id}`) }, post.title),
    h("a", { class: "long", href: address("users", { q: post.author }) }, post.author),
    postBadge(post),
    showTime(post.created_at),
    postButton(app, post, changed),
  ];
}
