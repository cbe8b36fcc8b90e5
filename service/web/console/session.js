// Who is signed in, and whether the routes of operators are open to them.

// Returns {state, user}: "operator", "refused", "second_factor", "disabled" or "nobody".
export async function recognise(api) {
  let user = null;
  try {
    user = await api.whoAmI();
  } catch (error) {
    // Nothing but the sign-out is open to a disabled account.
    if (error.status === 403) return { state: "disabled", user: { username: "" } };
    throw error;
  }
  if (!user) return { state: "nobody", user };
  try {
    await api.get(`/admin/users/${user.id}`);
    return { state: "operator", user };
  } catch (error) {
    if (error.status === 401) return { state: "nobody", user: null };
    if (error.status !== 403) throw error;
    return { state: error.reason === "second_factor_required" ? "second_factor" : "refused", user };
  }
}
