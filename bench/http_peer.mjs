// http_peer.mjs MODULES SOCKET PGPORT PORT POOL: what bench/http compares factoryd with, fastify and pg.
import { createRequire } from 'node:module';

const [modules, host, pgport, port, pool] = process.argv.slice(2);
const require = createRequire(modules + '/package.json');
const { Pool } = require('pg');
const database = new Pool({ host, port: +pgport, user: 'postgres', database: 'postgres', max: +pool });
const server = require('fastify')({ logger: false });

server.get('/ready', async () => ({ ready: true }));
server.post('/rpc/f', {
  schema: { body: { type: 'object', required: ['a'], properties: { a: { type: 'integer' } } } },
}, async (request, reply) => {
  const { rows } = await database.query({ name: 'f', text: 'SELECT api.f($1) AS r', values: [request.body.a] });
  reply.type('application/json');
  return JSON.stringify(rows[0].r);
});
await server.listen({ port: +port, host: '127.0.0.1' });
