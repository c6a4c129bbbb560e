// zen_peer.mjs: the same decision tables and rows, answered by ZEN (GoRules), for bench/judge, bench/zen and bench/backtest.
//
//   node bench/zen_peer.mjs FOLDER
//
// FOLDER has rules.json, rows.json and node_modules/zen. Writes zen_first.csv and
// zen_collect.csv (row, ids of the rules that hit) there, and prints a line a contender:
// its name and decisions per second of processor time, the median of the rounds.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const folder = path.resolve(process.argv[2]);
const { ZenEngine, ZenDecisionContent } = createRequire(folder + '/')('zen');
const rules = JSON.parse(readFileSync(folder + '/rules.json'));
const rows = JSON.parse(readFileSync(folder + '/rows.json'));
const BATCH = 1000, ROUNDS = 5, LEAST_SECONDS = 0.5;

const quoted = (text) => `'${text}'`;
// A rule brings its cells, by field, or is one of bench/judge's.
const cells = (rule) => rule.cells ? Object.fromEntries(Object.entries(rule.cells).map(([field, cell]) => [field, cell ?? ''])) : ({
	line_code: quoted(rule.line_code),
	product_code: rule.products === null ? '' : rule.products.map(quoted).join(', '),
	shift: rule.shift === null ? '' : quoted(rule.shift),
	temperature: `[${rule.low}..${rule.high})`,
	pressure: rule.pressure === null ? '' : `> ${rule.pressure}`,
	defect_count: rule.defects === null ? '' : `>= ${rule.defects}`,
});

const fields = Object.keys(cells(rules[0]));

function table(hitPolicy, loop) {
	const column = (field) => ({ id: field, field, name: field, type: 'expression' });
	const content = {
		hitPolicy, inputs: fields.map(column), outputs: ['rule_id', 'status'].map(column),
		rules: rules.map((rule) => ({ _id: String(rule.i), ...cells(rule), rule_id: String(rule.i), status: quoted(rule.status ?? 'S' + rule.i) })),
		passThrough: false, inputField: loop ? 'rows' : null, outputPath: null, executionMode: loop ? 'loop' : 'single',
	};
	return new ZenDecisionContent({
		contentType: 'application/vnd.gorules.decision',
		nodes: [{ id: 'in', type: 'inputNode', name: 'request', position: { x: 0, y: 0 } },
			{ id: 'table', type: 'decisionTableNode', name: 'table', position: { x: 1, y: 0 }, content },
			{ id: 'out', type: 'outputNode', name: 'response', position: { x: 2, y: 0 } }],
		edges: [{ id: 'one', type: 'edge', sourceId: 'in', targetId: 'table' }, { id: 'two', type: 'edge', sourceId: 'table', targetId: 'out' }],
	});
}

const ids = (answer) => (Array.isArray(answer) ? answer : answer ? [answer] : []).filter((hit) => hit.rule_id !== undefined).map((hit) => hit.rule_id);

async function measure(name, count, run) {
	const rates = [];
	await run();
	for (let round = 0; round < ROUNDS; round++) {
		const begun = process.cpuUsage();
		let decided = 0, used;
		do {
			await run();
			decided += count;
			used = process.cpuUsage(begun);
		} while ((used.user + used.system) / 1e6 < LEAST_SECONDS);
		rates.push(decided / ((used.user + used.system) / 1e6));
	}
	console.log(`${name}\t${rates.sort((a, b) => a - b)[ROUNDS >> 1]}`);
}

for (const policy of ['first', 'collect']) {
	const decision = new ZenEngine().createDecision(table(policy, true));
	const lines = [];
	for (let i = 0; i < rows.length; i += BATCH)
		for (const answer of (await decision.evaluate({ rows: rows.slice(i, i + BATCH) })).result) lines.push(`${rows[lines.length].i}\t${ids(answer).join(' ')}`);
	writeFileSync(`${folder}/zen_${policy}.csv`, lines.join('\n') + '\n');
	const batch = rows.slice(0, BATCH);
	await measure('ZEN ' + policy, BATCH, () => decision.evaluate({ rows: batch }));
}
const traced = new ZenEngine().createDecision(table('first', false));
let at = 0;
await measure('ZEN first, traced', 20, async () => {
	for (let i = 0; i < 20; i++) await traced.evaluate(rows[at++ % rows.length], { trace: true });
});
process.exit(0);
