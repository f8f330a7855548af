// Counts the results of cache-tests: by kind, and by name whatever is not passed.
//
//   node summary.mjs CHECKOUT RESULTS
//
// A test counts as passed when its own result is `true` and those that it depends on are passed too, which is
// stricter than a look at the results alone. Ends with 1 when a required test is not passed.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const [checkout, file] = process.argv.slice(2)
const { default: suites } = await import(resolve(checkout, 'tests/index.mjs'))
const { determineTestResult, resultTypes } = await import(resolve(checkout, 'test-engine/lib/results.mjs'))
const results = JSON.parse(readFileSync(file))
const nameOf = type => Object.keys(resultTypes).find(name => resultTypes[name] === type)

const kinds = { required: [], optimal: [], check: [] }
for (const test of suites.flatMap(suite => suite.tests).filter(test => !test.browser_only)) {
  const result = nameOf(determineTestResult(suites, test.id, results))
  const passed = result === 'pass' || result === 'yes'
  kinds[test.kind ?? 'required'].push({ id: test.id, result, passed, detail: results[test.id]?.[1] ?? '' })
}
for (const [kind, tests] of Object.entries(kinds)) {
  const missed = tests.filter(test => !test.passed)
  console.log(`${kind}: ${tests.length - missed.length} of ${tests.length}`)
  for (const { id, result, detail } of missed) console.log(`  ${id}: ${result}${detail && ` (${detail})`}`)
}
process.exit(kinds.required.every(test => test.passed) ? 0 : 1)
