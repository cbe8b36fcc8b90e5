// The service as a browser's script sees it: the tokens are in cookies that no script can read.

const SAFE = new Set(["GET", "HEAD"]);

// A failure that the service answered with.
export class ApiError extends Error {
  constructor(status, body) {
    const fields = Object.entries(body.errors ?? {});
    const details = fields.map(([field, messages]) => `${field}: ${messages.join(", ")}`);
    super([body.message, ...details].join(" – "));
    this.status = status;
  }
}

export class Api {
  #refreshing = null;

  constructor(address) {
    this.origin = new URL(address).origin;
  }

  // Send a request and return {status, headers, body}. Throws ApiError.
  async request(method, path, { body, headers = {} } = {}) {
    let response = await this.#send(method, path, body, headers);
    // The access token has expired: the refresh token is exchanged for another pair, once.
    if (response.status === 401 && path !== "/auth/login" && this.#csrfToken()) {
      if (await this.#refresh()) {
        response = await this.#send(method, path, body, headers);
      }
    }
    return this.#read(response);
  }

  async logIn(email, password) {
    const headers = { "X-Token-Transport": "cookie" };
    const answer = await this.request("POST", "/auth/login", { body: { email, password }, headers });
    return answer.body.user;
  }

  async logOut() {
    await this.request("POST", "/auth/logout");
    localStorage.removeItem(this.#key);
  }

  // The account of the login session in the cookies; null when there is none.
  async whoAmI() {
    if (!this.#csrfToken()) return null;
    try {
      return (await this.request("GET", "/auth/me")).body;
    } catch (error) {
      if (error.status === 401) return null;
      throw error;
    }
  }

  async #send(method, path, body, headers) {
    const sent = { ...headers };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    if (!SAFE.has(method)) sent["X-CSRF-Token"] = this.#csrfToken();
    const response = await fetch(this.origin + path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "include",
    });
    const token = response.headers.get("X-CSRF-Token");
    if (token) localStorage.setItem(this.#key, token);
    return response;
  }

  // Several requests at once share one refresh.
  #refresh() {
    this.#refreshing ??= this.#send("POST", "/auth/refresh", undefined, {})
      .then((response) => {
        if (response.status === 401) localStorage.removeItem(this.#key);
        return response.ok;
      })
      .finally(() => {
        this.#refreshing = null;
      });
    return this.#refreshing;
  }

  async #read(response) {
    const text = await response.text();
    const body = text ? JSON.parse(text) : null;
    if (!response.ok) throw new ApiError(response.status, body);
    return { status: response.status, headers: response.headers, body };
  }

  get #key() {
    return `csrf_token ${this.origin}`;
  }

  // A page of the service's own host reads the cookie; others keep the header's value.
  #csrfToken() {
    if (location.hostname === new URL(this.origin).hostname) {
      const found = document.cookie.match(/(?:^|; )csrf_token=([^;]*)/);
      return found ? found[1] : "";
    }
    return localStorage.getItem(this.#key) ?? "";
  }
}
