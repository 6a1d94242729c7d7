// The npm package node-zookeeper-client against an ensemble, also while its servers are killed.

import assert from 'node:assert/strict';
import zookeeper from 'node-zookeeper-client';
import { Coming, check, finish, please } from './checks.js';

const { ACL, CreateMode, Event, Exception, Id, Permission, State } = zookeeper;
const servers = process.argv[2];
const OPTIONS = { sessionTimeout: 15000, retries: 5 };

// A connected client whose calls are promises, of all results behind the error where there are several.
async function connected(hosts = servers) {
  const client = zookeeper.createClient(hosts, OPTIONS);
  const states = new Coming();
  client.on('state', states.add);
  client.connect();
  assert.equal(await states.next('the connection'), State.SYNC_CONNECTED);
  const call = (name, ...words) =>
    new Promise((resolve, reject) => {
      client[name](...words, (error, ...results) => {
        if (error) reject(error);
        else resolve(results.length > 1 ? results : results[0]);
      });
    });
  const commit = (transaction) =>
    new Promise((resolve) => transaction.commit((error, results) => resolve({ error, results })));
  return { client, states, call, commit, session: () => client.getSessionId().toString('hex') };
}

async function codeOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error.getCode();
  }
  return Exception.OK;
}

const mine = await connected();
const other = await connected();
const made = (path, who = mine) => who.call('create', path, Buffer.from('data'));
const named = (event) => `${event.getName()} ${event.getPath()}`;

await check('versions and error codes', async () => {
  assert.equal(await made('/errors'), '/errors');
  await made('/errors/child');
  assert.equal(await codeOf(made('/errors')), Exception.NODE_EXISTS);
  assert.equal(await codeOf(made('/errors/none/child')), Exception.NO_NODE);
  assert.equal(await codeOf(mine.call('remove', '/errors', -1)), Exception.NOT_EMPTY);
  assert.equal(await codeOf(mine.call('remove', '/errors/child', 1)), Exception.BAD_VERSION);
  assert.equal(await codeOf(mine.call('setData', '/errors', Buffer.alloc(0), 1)), Exception.BAD_VERSION);
  assert.equal(await codeOf(mine.call('getData', '/errors/none')), Exception.NO_NODE);
  assert.equal(await codeOf(mine.call('getChildren', '/errors/none')), Exception.NO_NODE);
  assert.equal(await mine.call('exists', '/errors/none'), null);
  const wrong = [new ACL(Permission.ALL, new Id('nonsense', 'x'))];
  assert.equal(await codeOf(mine.call('create', '/errors/acl', null, wrong)), Exception.INVALID_ACL);
  const set = await mine.call('setData', '/errors', Buffer.from('longer'), 0);
  assert.deepEqual([set.version, set.dataLength, set.numChildren], [1, 6, 1]);
  const [data, stat] = await mine.call('getData', '/errors');
  assert.equal(data.toString(), 'longer');
  assert.deepEqual(stat, set);
  assert.deepEqual(await mine.call('getChildren', '/errors'), [['child'], set]);
  await mine.call('remove', '/errors/child', 0);
});

await check('modes of create', async () => {
  await made('/modes');
  const create = (path, mode) => mine.call('create', path, null, mode);
  assert.equal(await create('/modes/s-', CreateMode.PERSISTENT_SEQUENTIAL), '/modes/s-0000000000');
  assert.equal(await create('/modes/e-', CreateMode.EPHEMERAL_SEQUENTIAL), '/modes/e-0000000001');
  assert.equal(await create('/modes/e', CreateMode.EPHEMERAL), '/modes/e');
  assert.equal(await codeOf(made('/modes/e/child')), Exception.NO_CHILDREN_FOR_EPHEMERALS);
  const stat = await mine.call('exists', '/modes/e');
  assert.equal(stat.ephemeralOwner.toString('hex'), mine.session());
  const [data] = await mine.call('getData', '/modes/e');
  assert.equal(data, undefined);
  await mine.call('mkdirp', '/modes/deep/er', CreateMode.PERSISTENT);
  assert.equal((await mine.call('getChildren', '/modes/deep'))[0].length, 1);
});

await check('transactions', async () => {
  await made('/multi');
  const good = mine.client.transaction();
  good.create('/multi/a', Buffer.from('a')).setData('/multi/a', Buffer.from('ab'), 0).check('/multi/a', 1);
  good.remove('/multi/a', 1).create('/multi/s-', null, CreateMode.PERSISTENT_SEQUENTIAL);
  const { error, results } = await mine.commit(good);
  assert.equal(error, null);
  assert.equal(results.length, 5);
  assert.equal(results[0].path, '/multi/a');
  assert.deepEqual([results[1].stat.version, results[1].stat.dataLength], [1, 2]);
  assert.equal(results[4].path, '/multi/s-0000000001');
  const bad = mine.client.transaction();
  bad.create('/multi/b', null).check('/multi', 7).remove('/multi/none', -1);
  const failure = await mine.commit(bad);
  assert.equal(failure.error.getCode(), Exception.BAD_VERSION);
  assert.deepEqual(
    failure.results.map((result) => result.err),
    [Exception.OK, Exception.BAD_VERSION, Exception.RUNTIME_INCONSISTENCY],
  );
  assert.equal(await mine.call('exists', '/multi/b'), null);
});

await check('access lists', async () => {
  const owner = await connected();
  owner.client.addAuthInfo('digest', Buffer.from('me:secret'));
  await owner.call('create', '/acl', Buffer.from('mine'), ACL.CREATOR_ALL_ACL);
  const [list] = await owner.call('getACL', '/acl');
  assert.equal(list[0].id.scheme, 'digest');
  await made('/acl-seen', other);
  assert.equal(await codeOf(other.call('getData', '/acl')), Exception.NO_AUTH);
  assert.equal(await codeOf(other.call('setData', '/acl', Buffer.alloc(0), -1)), Exception.NO_AUTH);
  assert.equal(await codeOf(made('/acl/c', other)), Exception.NO_AUTH);
  const readers = [new ACL(Permission.READ, Id.ANYONE_ID_UNSAFE), list[0]];
  assert.equal(await codeOf(owner.call('setACL', '/acl', readers, 1)), Exception.BAD_VERSION);
  const stat = await owner.call('setACL', '/acl', readers, 0);
  assert.equal(stat.aversion, 1);
  await made('/acl-seen-again', other);
  const [data] = await other.call('getData', '/acl');
  assert.equal(data.toString(), 'mine');
  owner.client.close();
});

await check('watches', async () => {
  const [data, children, exists] = [new Coming(), new Coming(), new Coming()];
  await made('/shot');
  await mine.call('getData', '/shot', data.add);
  await mine.call('getChildren', '/shot', children.add);
  assert.equal(await mine.call('exists', '/shot/c', exists.add), null);
  await made('/shot/c', other);
  assert.equal(named(await exists.next('created')), 'NODE_CREATED /shot/c');
  assert.equal(named(await children.next('children')), 'NODE_CHILDREN_CHANGED /shot');
  await other.call('setData', '/shot', Buffer.alloc(0), -1);
  await other.call('setData', '/shot', Buffer.alloc(0), -1);
  assert.equal(named(await data.next('changed')), 'NODE_DATA_CHANGED /shot');
  await mine.call('getData', '/shot/c', data.add);
  await other.call('remove', '/shot/c', -1);
  assert.equal((await data.next('deleted')).getType(), Event.NODE_DELETED);
  await made('/shot/again');
  assert.equal(data.size + children.size + exists.size, 0);
});

await check('chroot', async () => {
  await made('/chroot');
  const inside = await connected(`${servers}/chroot`);
  assert.equal(await made('/a', inside), '/a');
  assert.deepEqual((await inside.call('getChildren', '/'))[0], ['a']);
  assert.equal(await codeOf(inside.call('getData', '/chroot')), Exception.NO_NODE);
  await made('/chroot-seen');
  assert.deepEqual((await mine.call('getChildren', '/chroot'))[0], ['a']);
  inside.client.close();
});

await check('ephemerals go with their session', async () => {
  const brief = await connected();
  await brief.call('create', '/brief', null, CreateMode.EPHEMERAL);
  await made('/brief-seen');
  const gone = new Coming();
  assert.notEqual(await mine.call('exists', '/brief', gone.add), null);
  brief.client.close();
  assert.equal(named(await gone.next('the end of the ephemeral')), 'NODE_DELETED /brief');
});

// Its ephemeral and its watches are there after its server, or the leader, was killed.
async function outlives(path, victim, isMine) {
  const session = mine.session();
  await made(path);
  await mine.call('create', `${path}/ephemeral`, null, CreateMode.EPHEMERAL);
  const before = await mine.call('exists', `${path}/ephemeral`);
  const [data, children] = [new Coming(), new Coming()];
  await mine.call('getData', path, data.add);
  await mine.call('getChildren', path, children.add);
  while (mine.states.size > 0) await mine.states.next('an old state');
  await please(`kill ${victim}`);
  if (isMine) {
    assert.equal(await mine.states.next('the loss of the connection'), State.DISCONNECTED);
    assert.equal(await mine.states.next('the next connection'), State.SYNC_CONNECTED);
  }
  await other.call('setData', path, Buffer.from('new'), -1);
  assert.equal(named(await data.next('changed')), `NODE_DATA_CHANGED ${path}`);
  await made(`${path}/child`, other);
  assert.equal(named(await children.next('children')), `NODE_CHILDREN_CHANGED ${path}`);
  assert.equal(mine.session(), session);
  assert.deepEqual(await mine.call('exists', `${path}/ephemeral`), before);
  await please('start all');
}

await check('a session outlives its server', () =>
  outlives('/server', `server of 0x${mine.session().replace(/^0+/, '')}`, true));
await check('a session outlives the leader', () => outlives('/leader', 'leader', false));
finish();
