// Runs scripts of package.json where there is only Node: `npm run x`, `yarn x`, `pnpm start`, `npx x`.
// Kept to what Node 10 understands. Called as `node run.cjs <program> <arguments…>`.
'use strict';

const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const tool = process.argv[2];
const args = process.argv.slice(3);
let folder = process.cwd();

function fail(text) {
  console.error(`AstroCloud: ${text}`);
  process.exit(1);
}

// Options before the verb: those that name a folder count, the others only change what the tool prints.
while (args.length > 0 && args[0].startsWith('-')) {
  const option = args.shift();
  const named = /^(--prefix|--cwd|--dir|-C)(=(.*))?$/.exec(option);
  if (named) folder = path.resolve(folder, named[2] ? named[3] : args.shift() || '.');
  else if (option === '-p' || option === '--package') args.shift();
  else if (option === '--') break;
}

function upward(from) {
  const all = [from];
  while (path.dirname(all[all.length - 1]) !== all[all.length - 1]) all.push(path.dirname(all[all.length - 1]));
  return all;
}

const home = upward(folder).find((at) => fs.existsSync(path.join(at, 'package.json')));
const about = home ? JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8').replace(/^\uFEFF/, '')) : {};
const scripts = about.scripts || {};
const bins = upward(home || folder).map((at) => path.join(at, 'node_modules', '.bin'));

const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`);

function run(line, where, extra) {
  const env = Object.assign({}, process.env, extra, { PATH: bins.concat(process.env.PATH || '').join(path.delimiter) });
  const child = spawn('/bin/sh', ['-c', line], { cwd: where, env, stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(error.message));
  child.on('exit', (code, signal) => process.exit(signal ? 128 + os.constants.signals[signal] : code));
}

function runScript(name, rest) {
  if (!home) fail(`there is no package.json in ${folder} or above it`);
  if (scripts[name] === undefined) fail(`package.json has no script "${name}"`);
  if (rest[0] === '--') rest = rest.slice(1);
  const main = [scripts[name]].concat(rest.map(quote)).join(' ');
  const parts = [scripts[`pre${name}`], main, scripts[`post${name}`]].filter((part) => part !== undefined);
  run(parts.map((part) => `(\n${part}\n)`).join(' && '), home, {
    npm_lifecycle_event: name,
    npm_package_name: about.name || '',
    npm_package_version: about.version || '',
  });
}

function runProgram(words) {
  if (words[0] === '--') words = words.slice(1);
  if (words.length === 0) fail(`"${tool}" needs to be told what to run`);
  run(words.map(quote).join(' '), folder, {});
}

const verb = args.shift();
if (tool === 'npx' || tool === 'pnpx' || tool === 'bunx') runProgram([verb].concat(args).filter((word) => word !== undefined));
else if (verb === 'run' || verb === 'run-script') {
  while (args.length > 0 && args[0].startsWith('-') && args[0] !== '--') args.shift();
  const name = args.shift();
  if (scripts[name] === undefined && name !== undefined && tool !== 'npm') runProgram([name].concat(args));
  else runScript(name, args);
} else if (verb === 'exec' || verb === 'x') runProgram(args);
else if (scripts[verb] !== undefined && (tool !== 'npm' || ['start', 'stop', 'test', 'restart'].includes(verb))) runScript(verb, args);
else if (tool !== 'npm' && verb !== undefined && bins.some((bin) => fs.existsSync(path.join(bin, verb)))) runProgram([verb].concat(args));
else fail(`"${tool} ${verb || ''}" can't be run while the app runs, only scripts can. Let the build command do it.`);
