import { answersSoFar, promptOf, toolCalls, type MessagesRequest, type ToolCall } from './messagesRequest.ts';
import type { Turn } from './scriptedModel.ts';

/**
 * The embedded demonstration model: a fixed script that makes a real agent read, edit, test and commit, so that
 * everything can be seen without a key. It decides by the tool results in the conversation, and understands nothing.
 */

/** Waits, in milliseconds, so that a user sees the work go on. */
const pause = { delayMs: 300, pieceMs: 25 };

const intro =
  'I am the Sallyport demonstration model (sallyport-demonstration): a fixed script, not a language model. I do not understand the prompt; I show what a coding agent does in a sandbox.';

const buggyLine = '  return sorted[Math.floor(sorted.length / 2)];';
const fixedLines = `  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;`;

const rangeFunction = `/** The difference between the largest and the smallest number. */
export function range(numbers) {
  if (numbers.length === 0) throw new RangeError('range of an empty list');
  return Math.max(...numbers) - Math.min(...numbers);
}
`;

const rangeTest = `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { range } from '../src/stats.js';

test('range of some numbers', () => {
  assert.equal(range([4, 1, 9]), 8);
});

test('range of nothing is refused', () => {
  assert.throws(() => range([]), RangeError);
});
`;

/** What src/stats.js becomes where it is not as the script expects it. */
const wholeFile = `/** The arithmetic mean. */
export function mean(numbers) {
  if (numbers.length === 0) throw new RangeError('mean of an empty list');
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

/** The middle number, when the numbers are put in order. */
export function median(numbers) {
  if (numbers.length === 0) throw new RangeError('median of an empty list');
  const sorted = [...numbers].sort((a, b) => a - b);
${fixedLines}
}
`;

/** What has been done so far, in the words of the script. */
interface Story {
  folder: string;
  files: string[];
  /** The prompt of the task. */
  prompt: string;
  /** The last call with this description, if there was one. */
  done: (step: string) => ToolCall | undefined;
}

/** The next answer: the first step of the script that is not done yet. Pure. */
export function demonstration(request: MessagesRequest): Turn {
  const calls = toolCalls(request);
  const listing = calls[0];
  if (listing === undefined || answersSoFar(request) === 0) {
    return {
      ...pause,
      text: `${intro}\n\nFirst I look at what is here.`,
      tools: [bash('pwd; git ls-files | head -n 500', 'List the files')],
    };
  }
  const [folder = '/workspace', ...files] = listing.result.split('\n').map((line) => line.trim());
  const story: Story = {
    folder,
    files: files.filter((file) => file !== ''),
    prompt: promptOf(request),
    done: (step) => calls.findLast((call, index) => index > 0 && stepOf(call) === step),
  };
  const { text, tools } = isStatistics(story) ? statistics(story) : anyRepository(story);
  return { ...pause, text, ...(tools === undefined ? {} : { tools }) };
}

type Step = Pick<Turn, 'tools'> & { text: string };

/** Names a call of the script's: commands by their description, files by tool and path. */
function stepOf(call: ToolCall): string {
  const input = call.input as { description?: string; file_path?: string };
  return input.description ?? `${call.name} ${input.file_path ?? ''}`;
}

function isStatistics({ files, done, folder }: Story): boolean {
  if (!['package.json', 'src/stats.js', 'test/stats.test.js'].every((file) => files.includes(file)))
    return false;
  const read = done(`Read ${folder}/src/stats.js`);
  // Where range is there already, this demonstration has run and was accepted: the other one is to be seen.
  return read === undefined || !/function range\b/.test(read.result);
}

function statistics({ folder, done }: Story): Step {
  const source = `${folder}/src/stats.js`;
  const read = done(`Read ${source}`);
  if (read === undefined)
    return {
      text: 'A small project with statistics. I read its source.',
      tools: [tool('Read', { file_path: source })],
    };

  const before = done('Run the tests');
  if (before === undefined)
    return { text: 'Now the tests, to see where it stands.', tools: [bash('node --test', 'Run the tests')] };

  const knowsTheBug = read.result.includes(buggyLine);
  const edited = done(`Edit ${source}`);
  const written = done(`Write ${source}`);
  if (knowsTheBug && edited === undefined) {
    return {
      text: 'One test fails: for a list of even length `median` takes the upper of the two middle numbers, where their mean is asked for. I correct that.',
      tools: [tool('Edit', { file_path: source, old_string: buggyLine, new_string: fixedLines })],
    };
  }
  if ((!knowsTheBug || edited?.isError === true) && written === undefined) {
    return {
      text: 'The file is not as my script expects it, so I write it anew.',
      tools: [tool('Write', { file_path: source, content: wholeFile })],
    };
  }

  const after = done('Run the tests again');
  if (after === undefined)
    return { text: 'Does that mend it?', tools: [bash('node --test', 'Run the tests again')] };
  const fixed = done('Commit the fix');
  if (fixed === undefined) {
    return {
      text: after.isError
        ? 'The tests still fail; I commit what I have, so that it can be seen.'
        : 'All tests pass. I commit the fix.',
      tools: [
        bash('git add src/stats.js && git commit -m "Fix median for lists of even length"', 'Commit the fix'),
      ],
    };
  }

  if (done('Add range to the source') === undefined) {
    return {
      text: 'A second commit shows how several are reviewed: I add a function `range`.',
      tools: [bash(`cat >> src/stats.js <<'END'\n\n${rangeFunction}END`, 'Add range to the source')],
    };
  }
  const test = `${folder}/test/range.test.js`;
  if (done(`Write ${test}`) === undefined)
    return { text: 'And its test.', tools: [tool('Write', { file_path: test, content: rangeTest })] };
  if (done('Run all tests') === undefined)
    return { text: 'All tests once more.', tools: [bash('node --test', 'Run all tests')] };
  if (done('Commit range') === undefined) {
    return {
      text: 'And the commit.',
      tools: [bash('git add src/stats.js test/range.test.js && git commit -m "Add range"', 'Commit range')],
    };
  }
  return {
    text: `This was the Sallyport demonstration model: a fixed script ran, and the prompt was not understood.

- \`median\` is right for lists of even length now (\`src/stats.js\`).
- \`range\` is new, with a test (\`test/range.test.js\`).

Nothing of your own tree or branches was changed. Look at the diff, and accept it as a branch if you like.`,
  };
}

const textFile =
  /\.(md|txt|rst|js|ts|py|rb|go|rs|java|c|h|cpp|cs|php|sh|json|ya?ml|toml|html|css)$|^(README|LICENSE|Makefile|Dockerfile)$/i;

function anyRepository({ folder, files, prompt, done }: Story): Step {
  const readable =
    files.find((file) => /^readme(\.\w+)?$/i.test(file)) ?? files.find((file) => textFile.test(file));
  if (readable !== undefined && done(`Read ${folder}/${readable}`) === undefined) {
    return {
      text: `I read ${readable}.`,
      tools: [tool('Read', { file_path: `${folder}/${readable}`, limit: 100 })],
    };
  }
  let number = 1;
  const name = (): string => (number === 1 ? 'DEMONSTRATION.md' : `DEMONSTRATION-${number}.md`);
  while (files.includes(name()) || done(`Write ${folder}/${name()}`)?.isError === true) number++;
  const path = `${folder}/${name()}`;
  if (done(`Write ${path}`) === undefined && number < 100) {
    return {
      text: `My script knows nothing about this repository, so I write ${name()}, which says so.`,
      tools: [tool('Write', { file_path: path, content: note(prompt, files.length) })],
    };
  }
  const committed = done('Commit the note');
  if (committed === undefined) {
    return {
      text: 'I commit it.',
      tools: [bash(`git add --force ${name()} && git commit -m "Add ${name()}"`, 'Commit the note')],
    };
  }
  const outcome = committed.isError
    ? 'The commit was refused; the file is left uncommitted.'
    : `${name()} is committed.`;
  return {
    text: `This was the Sallyport demonstration model: a fixed script ran, and the prompt was not understood. ${outcome} With a credential of your own (command Sallyport: Set Credential) a real model does the work.`,
  };
}

function note(prompt: string, files: number): string {
  const characters = Array.from(prompt);
  const quoted = characters.length <= 2000 ? prompt : `${characters.slice(0, 2000).join('')} […]`;
  return `# Written by the demonstration model

This file was written by the Sallyport demonstration model: a fixed script, without any
understanding of the prompt or of this repository, which has ${files >= 500 ? 'at least 500' : files} tracked files.
With a credential of your own a real model does the work.

The prompt was:

${quoted
  .split('\n')
  .map((line) => `> ${line}`.trimEnd())
  .join('\n')}
`;
}

function bash(command: string, description: string): NonNullable<Turn['tools']>[number] {
  return tool('Bash', { command, description });
}

function tool(name: string, input: Record<string, unknown>): NonNullable<Turn['tools']>[number] {
  return { name, input };
}
