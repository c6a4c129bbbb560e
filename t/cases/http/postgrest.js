// postgrest.js URL: @supabase/postgrest-js against factoryd; prints "all well", or what is not.
const assert = require('assert');
const { PostgrestClient } = require('@supabase/postgrest-js');

async function main() {
  const db = new PostgrestClient(process.argv[2], { schema: 'api' });
  let r = await db.from('line').select('id,code').order('id').limit(2);
  assert.deepStrictEqual(r.data, [{ id: 1, code: 'LINE-A' }, { id: 2, code: 'LINE-B' }]);
  r = await db.from('line').select('*', { count: 'exact', head: true });
  assert.strictEqual(r.count, 3);
  r = await db.from('line').select('code, plant(name)').eq('id', 1).single();
  assert.deepStrictEqual(r.data, { code: 'LINE-A', plant: { name: 'seoul' } });
  r = await db.from('line').select().eq('id', 99).single();
  assert.strictEqual(r.error.code, 'PGRST116');
  assert.strictEqual(r.status, 406);
  r = await db.from('line').select().eq('id', 99).maybeSingle();
  assert.strictEqual(r.data, null);
  assert.strictEqual(r.error, null);
  r = await db.from('plant').select('name, line!inner(code)').eq('line.code', 'LINE-B');
  assert.deepStrictEqual(r.data, [{ name: 'seoul', line: [{ code: 'LINE-B' }] }]);
  r = await db.from('line').select('id', { count: 'exact' }).range(1, 1).order('id');
  assert.deepStrictEqual([r.data, r.count], [[{ id: 2 }], 3]);
  r = await db.from('line').select('id').or('id.eq.1,code.eq."LINE, \\"C\\""').order('id');
  assert.deepStrictEqual(r.data, [{ id: 1 }, { id: 3 }]);
  r = await db.from('line').select('id').in('code', ['LINE-A', 'a,b']).order('id');
  assert.deepStrictEqual(r.data, [{ id: 1 }]);
  r = await db.from('line').select('id').contains('tags', ['b']).order('id');
  assert.deepStrictEqual(r.data, [{ id: 1 }, { id: 2 }]);
  r = await db.from('line').select('id').textSearch('code', 'line', { config: 'english' }).order('id');
  assert.strictEqual(r.data.length, 3);
  r = await db.from('line').select('id').not('kind', 'is', null).order('id', { ascending: false, nullsFirst: false });
  assert.deepStrictEqual(r.data, [{ id: 2 }, { id: 1 }]);
  r = await db.from('plant').insert([{ id: 20, name: 'a' }, { id: 21, name: 'b' }]).select('id');
  assert.deepStrictEqual([r.status, r.data], [201, [{ id: 20 }, { id: 21 }]]);
  r = await db.from('plant').upsert({ id: 20, name: 'A' }).select().single();
  assert.strictEqual(r.data.name, 'A');
  r = await db.from('plant').update({ name: 'z' }).eq('id', 21).select('name');
  assert.deepStrictEqual(r.data, [{ name: 'z' }]);
  r = await db.from('plant').delete({ count: 'exact' }).gte('id', 20);
  assert.deepStrictEqual([r.status, r.count], [204, 2]);
  r = await db.rpc('lines_of', { plant: 1 }).select('code').order('code', { ascending: false });
  assert.deepStrictEqual(r.data, [{ code: 'LINE-B' }, { code: 'LINE-A' }]);
  r = await db.rpc('words', { w: ['a', 'b'] });
  assert.strictEqual(r.data, 'a+b');
  r = await db.rpc('lines_of', { plant: 1 }, { get: true }).select('id').limit(1);
  assert.strictEqual(r.data.length, 1);
  r = await db.from('line').select('id,code').order('id').limit(1).csv();
  assert.strictEqual(r.data, 'id,code\n1,LINE-A');
  r = await db.schema('other').from('secret').select();
  assert.strictEqual(r.error.code, '42501');
  r = await db.from('nowhere').select();
  assert.strictEqual(r.error.code, 'PGRST205');
  process.stdout.write('all well');
}

main().catch((e) => { process.stdout.write(String(e.stack)); process.exit(1); });
