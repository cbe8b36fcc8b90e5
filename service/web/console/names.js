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

  // Look up names for events; accounts that are gone have none, and are not looked for again.
  async lookUp(events, signal) {
    const ids = new Set(events.flatMap((event) => [event.user_id, event.actor_id]));
    const unknown = [...ids].filter((id) => id && !this.#known.has(id));
    await Promise.all(unknown.slice(0, LOOKED_UP).map((id) => this.#lookUp(id, signal)));
  }

  async #lookUp(id, signal) {
    try {
      this.note([await this.api.get(`/admin/users/${id}`, { signal })]);
    } catch (error) {
      if (error.status === 404) this.#known.set(id, null);
    }
  }
}
