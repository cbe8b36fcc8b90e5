// The names of accounts that events have by their ids.

// Looked up for one list: the limit of operators' requests is for their work.
const LOOKED_UP = 8;

export class Names {
  #known = new Map();

  constructor(api) {
    this.api = api;
  }

  note(users) {
    for (const { id, username } of users) this.#known.set(id, username);
  }

  // The name; of an account that is not known the end of its id, as the beginning is a time.
  of(id) {
    return this.#known.get(id) ?? `…${id.slice(-12)}`;
  }

  // Look up names for events; accounts that are gone have none.
  async lookUp(events, signal) {
    const ids = new Set(events.flatMap((event) => [event.user_id, event.actor_id]));
    const unknown = [...ids].filter((id) => id && !this.#known.has(id));
    const found = await Promise.allSettled(
      unknown.slice(0, LOOKED_UP).map((id) => this.api.get(`/admin/users/${id}`, { signal })),
    );
    this.note(found.filter(({ status }) => status === "fulfilled").map(({ value }) => value));
  }
}
