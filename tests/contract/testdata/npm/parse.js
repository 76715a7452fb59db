// Reads a list of AsyncAPI documents as JSON from standard input, and prints what the parser
// finds in each, as JSON: a list of "<severity> <rule> <path>: <words>". Severity 0 is an error.
const fs = require('node:fs');
const { Parser } = require('@asyncapi/parser');

async function main() {
  const findings = [];
  for (const text of JSON.parse(fs.readFileSync(0, 'utf8'))) {
    const { diagnostics } = await new Parser().parse(text);
    findings.push(diagnostics.map((d) => `${d.severity} ${d.code} ${d.path.join('/')}: ${d.message}`));
  }
  console.log(JSON.stringify(findings));
}

main();
