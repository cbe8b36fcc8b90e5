// Who is signed in, and whether the routes of operators are open to them.

// Returns {state, user}: "operator", "refused", "second_factor", "disabled" or "nobody".
export async function recognise(api) {
  let user = null;
  try {
    user = await api.whoAmI();
  } catch (error) {
    // Nothing but the sign-out is open to a disabled account.
    if (error.status === 403) return { state: "disabled", user: { username: "" } };
    // The limit of this route is for people's own pages, and operators may have more tabs.
    if (error.status !== 429) throw error;
    user = { id: null, username: "" };
  }
  if (!user) return { state: "nobody", user };
  try {
    await api.get(user.id ? `/admin/users/${user.id}` : "/admin/users");
    return { state: "operator", user };
  } catch (error) {
    if (error.status === 401) return { state: "nobody", user: null };
    if (error.status !== 403) throw error;
    return { state: error.reason === "second_factor_required" ? "second_factor" : "refused", user };
  }
}
