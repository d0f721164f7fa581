// The console: signs in, then shows what the service says of itself every two seconds.

const REFRESH_MS = 2000;
const find = (id) => document.getElementById(id);

function cell(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function showRows(body, rows) {
  body.replaceChildren(
    ...rows.map((values) => {
      const row = document.createElement("tr");
      row.append(...values.map((value) => cell("td", value)));
      return row;
    }),
  );
}

function showFacts(list, facts) {
  list.replaceChildren(...facts.flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]));
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
  const answer = await fetch("status");
  if (answer.status === 401) return showSignIn();
  find("sign-in").hidden = true;
  find("status").hidden = find("sign-out").hidden = false;
  const trouble = [];
  if (answer.ok) showStatus(await answer.json());
  else trouble.push((await answer.json()).detail);
  const rule = await fetch("/v1/rule");
  if (rule.ok) {
    const rejected = showRule(await rule.json());
    if (rejected) trouble.push(`A rule was rejected: ${rejected.path} ${rejected.message}`);
  } else {
    trouble.push("The data plane does not answer.");
  }
  find("trouble").textContent = trouble.join(" ");
}

async function keepFresh() {
  try {
    await refresh();
  } catch (error) {
    find("trouble").textContent = `The service does not answer (${error.message}).`;
  }
  setTimeout(keepFresh, find("sign-in").hidden ? REFRESH_MS : 3600_000);
}

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: find("token").value }),
  });
  find("token").value = "";
  if (answer.ok) location.reload();
  else find("sign-in-error").textContent = (await answer.json()).detail;
});

find("sign-out").addEventListener("click", async () => {
  await fetch("session", { method: "DELETE" });
  location.reload();
});

keepFresh();
