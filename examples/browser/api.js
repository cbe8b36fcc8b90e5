// The service as a browser's script sees it: the tokens are in cookies that no script can read.

const SAFE = new Set(["GET", "HEAD"]);
const BY_COOKIE = { "X-Token-Transport": "cookie" };

// The address of the service: `?api=…`, or port 8000 of this page's host.
export function serviceAddress() {
  const named = new URLSearchParams(location.search).get("api");
  return named ?? `http://${location.hostname}:8000`;
}

// A failure that the service answered with. `reason` is its stable word for programs, where one
// status has several causes; `retryAfter` is in seconds.
export class ApiError extends Error {
  constructor(response, body) {
    const fields = Object.entries(body.errors ?? {});
    const details = fields.map(([field, messages]) => `${field}: ${messages.join(", ")}`);
    super([body.message, ...details].join(" – "));
    this.status = response.status;
    this.reason = body.reason ?? null;
    this.body = body;
    this.retryAfter = Number(response.headers.get("Retry-After")) || null;
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
    if (response.status === 401 && !path.startsWith("/auth/login") && this.#csrfToken()) {
      if (await this.#refresh()) {
        response = await this.#send(method, path, body, headers);
      }
    }
    return this.#read(response);
  }

  // Throws ApiError with the reason "second_factor_required", whose body has the `login_token` for
  // `finishLogIn`, where the account has a second factor.
  async logIn(email, password) {
    const options = { body: { email, password }, headers: BY_COOKIE };
    return (await this.request("POST", "/auth/login", options)).body.user;
  }

  // `proof` is {code}, {recovery_code} or {passkey}. Returns {user}, and `recovery_codes_left` after
  // a recovery code.
  async finishLogIn(loginToken, proof) {
    const options = { body: { login_token: loginToken, ...proof }, headers: BY_COOKIE };
    return (await this.request("POST", "/auth/login/second-factor", options)).body;
  }

  // Log in with a passkey alone, whose credential is that of `toJSON()`.
  async logInByPasskey(credential) {
    const options = { body: { credential }, headers: BY_COOKIE };
    return (await this.request("POST", "/auth/login/passkey", options)).body.user;
  }

  // Log in with the code of an external provider. Returns {user, created}; throws as `logIn` does.
  async logInExternally(proof) {
    const options = { body: proof, headers: BY_COOKIE };
    return (await this.request("POST", "/auth/login/external", options)).body;
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
    if (!response.ok) throw new ApiError(response, body);
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
