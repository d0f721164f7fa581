// The console: signs in, then shows the status of the service and refreshes it every two seconds.

import { showSignIn } from "./sign_in.js";

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

function signOut() {
  find("error").textContent = "";
  find("status").hidden = find("sign-out").hidden = true;
  showSignIn();
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
  for (const row of find("deployments").rows) {
    row.cells[2].className = row.cells[2].textContent === "HEALTHY" ? "good" : "bad";
  }
  const { stored, dropped, missing } = status.recording;
  showFacts(find("recording"), [
    ["Revision", status.revision ?? "-"],
    ["Epoch", status.epoch ? status.epoch.number : "-"],
    ["Exposures stored", stored],
    ["Dropped", dropped],
    ["Missing", missing],
  ]);
}

// A nested mapping becomes one line: `metric complaint, direction decrease`.
function formatValue(value) {
  if (Array.isArray(value)) return value.map(formatValue).join(", ");
  if (value === null || typeof value !== "object") return String(value);
  return Object.entries(value)
    .filter(([, inner]) => inner !== null)
    .map(([key, inner]) => `${key} ${formatValue(inner)}`)
    .join(", ");
}

function describeCandidate({ version, pool, ready, up }) {
  if (!ready) return `${version} in ${pool}: starting`;
  return `${version} in ${pool}: ${up ? "up" : "stopped by the circuit breaker"}`;
}

function showRule({ rule, rule_id, effective_weight, candidate, pools, rejected }) {
  showFacts(find("rule"), [
    ["Id", rule_id],
    ...Object.entries(rule)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => [key, formatValue(value)]),
    ...(candidate
      ? [["Candidate", describeCandidate(candidate)], ["Effective weight", `${effective_weight}`]]
      : []),
  ]);
  const replicas = pools.flatMap(({ pool, replicas }) =>
    replicas.map((r) => [pool, r.replica, r.version ?? "none", r.warm.join(", ")]),
  );
  showRows(find("replicas"), replicas);
  return rejected;
}

async function refresh() {
  const response = await fetch("status");
  if (response.status === 401) return signOut();
  if (response.status === 403) return location.assign("review"); // a reviewer's session
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
  find("as-of").textContent = `As of ${new Date().toLocaleTimeString()}`;
  find("status").classList.remove("stale");
}

async function refreshForever() {
  try {
    await refresh();
  } catch (error) {
    find("error").textContent = `The service does not respond (${error.message}).`;
    find("status").classList.add("stale");
  }
  setTimeout(refreshForever, find("sign-in").hidden ? REFRESH_MS : 3600_000);
}

find("sign-out").addEventListener("click", async () => {
  await fetch("session", { method: "DELETE" });
  location.reload();
});

refreshForever();
