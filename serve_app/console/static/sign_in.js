// The sign-in form of both pages. A reviewer is taken to the reviews, which is all that the
// reviewer token opens.

const find = (id) => document.getElementById(id);

export function showSignIn() {
  find("sign-in").hidden = false;
  find("token").focus();
}

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = find("sign-in-error");
  error.textContent = "";
  try {
    const response = await fetch("session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: find("token").value }),
    });
    find("token").value = "";
    const content = await response.json();
    if (!response.ok) error.textContent = content.detail;
    else if (content.role === "reviewer") location.assign("review");
    else location.reload();
  } catch (failure) {
    error.textContent = `The service does not respond (${failure.message}).`;
  }
});
