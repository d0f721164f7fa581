// The console: signs in, then shows the status of the service and refreshes it every two seconds.

const REFRESH_MS = 2000;
const find = (id) => document.getElementById(id);

function createElement(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function showRows(body, rows) {
  body.replaceChildren(
    ...rows.map((values) => {
      const row = document.createElement("tr");
      row.append(...values.map((value) => createElement("td", value)));
      return row;
    }),
  );
}

function showFacts(list, facts) {
  const elements = facts.flatMap(([name, value]) => [
    createElement("dt", name), createElement("dd", value),
  ]);
  list.replaceChildren(...elements);
}

function showSignIn() {
  find("status").hidden = find("sign-out").hidden = true;
  find("sign-in").hidden = false;
  find("token").focus();
}

function countByState(replicas) {
  const counts = {};
  for (const { state } of replicas) counts[state] = (counts[state] ?? 0) + 1;
  return Object.entries(counts).map(([state, count]) => `${count} ${state.toLowerCase()}`).join(", ");
}

function showStatus(status) {
  const rows = Object.entries(status.applications).flatMap(([name, application]) =>
    Object.entries(application.deployments).map(([deployment, facts]) => [
      name, deployment, facts.status, `${countByState(facts.replicas) || "none"} of ${facts.target}`,
    ]),
  );
  showRows(find("deployments"), rows);
  const { stored, dropped, missing } = status.recording;
  showFacts(find("recording"), [
    ["Revision", status.revision ?? "-"],
    ["Epoch", status.epoch ? status.epoch.number : "-"],
    ["Exposures stored", stored],
    ["Dropped", dropped],
    ["Missing", missing],
  ]);
}

function showRule({ rule, rule_id, pools, rejected }) {
  showFacts(find("rule"), [
    ["Id", rule_id],
    ...Object.entries(rule).map(([key, value]) => [key, String(value)]),
  ]);
  const replicas = pools.flatMap(({ pool, replicas }) =>
    replicas.map((r) => [pool, r.replica, r.version ?? "none", r.warm.join(", ")]),
  );
  showRows(find("replicas"), replicas);
  return rejected;
}

async function refresh() {
  const response = await fetch("status");
  if (response.status === 401) return showSignIn();
  find("sign-in").hidden = true;
  find("status").hidden = find("sign-out").hidden = false;
  const errors = [];
  if (response.ok) showStatus(await response.json());
  else errors.push((await response.json()).detail);
  const rule = await fetch("/v1/rule");
  if (rule.ok) {
    const rejected = showRule(await rule.json());
    if (rejected) errors.push(`A rule was rejected: ${rejected.path} ${rejected.message}`);
  } else {
    errors.push("The data plane does not respond.");
  }
  find("error").textContent = errors.join(" ");
}

async function refreshForever() {
  try {
    await refresh();
  } catch (error) {
    find("error").textContent = `The service does not respond (${error.message}).`;
  }
  setTimeout(refreshForever, find("sign-in").hidden ? REFRESH_MS : 3600_000);
}

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: find("token").value }),
  });
  find("token").value = "";
  if (response.ok) location.reload();
  else find("sign-in-error").textContent = (await response.json()).detail;
});

find("sign-out").addEventListener("click", async () => {
  await fetch("session", { method: "DELETE" });
  location.reload();
});

refreshForever();
