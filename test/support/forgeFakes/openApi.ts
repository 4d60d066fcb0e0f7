import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { gaps, type Gap } from './gaps.ts';

type Json = Record<string, unknown>;

/** A schema of JSON, as far as it is looked at here; the validator knows the rest. */
interface Schema {
  $ref?: string;
  type?: string;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  nullable?: boolean;
}

interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema?: Schema;
  $ref?: string;
}

interface Content {
  content?: Record<string, { schema?: Schema }>;
  $ref?: string;
}

interface Operation {
  parameters?: Parameter[];
  requestBody?: Content & { required?: boolean };
  responses: Record<string, Content>;
}

interface Document {
  paths: Record<string, Record<string, unknown> & { parameters?: Parameter[] }>;
  components: Record<string, Record<string, unknown>>;
}

export interface ContractRequest {
  method: string;
  /** Below the API, with its query. */
  path: string;
  /** Names in lower case. */
  headers: Record<string, string | string[] | undefined>;
  body: unknown;
}

export interface Matched {
  /** `get /repos/{owner}/{repo}` */
  operation: string;
  /** Decoded. */
  parameters: Record<string, string>;
  query: URLSearchParams;
}

/** A forge's published document: says what is wrong with a request, and what an answer has to look like. */
export class OpenApi {
  /** What was asked for beyond the document. */
  readonly needed = new Set<Gap>();
  private readonly name: string;
  private readonly document: Document;
  private readonly ajv: Ajv;
  private readonly compiled = new Map<string, ValidateFunction>();

  constructor(name: string) {
    this.name = name;
    const path = join(import.meta.dirname, '..', '..', 'fixtures', 'openapi', `${name}.json`);
    this.document = withNulls(JSON.parse(readFileSync(path, 'utf8'))) as Document;
    // The documents have words of their own among the schemas'; of the formats only people know all.
    this.ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
    this.ajv.addSchema({ $id: 'forge', ...this.document });
  }

  /** Which operation it is. A string says why it is none, or what breaks its document. */
  read(request: ContractRequest): Matched | string {
    const url = new URL(request.path, 'http://x');
    const method = request.method.toLowerCase();
    const found = this.match(method, url.pathname);
    if (found === undefined) return `${request.method} ${url.pathname} is not in the document`;
    const { path, values } = found;
    const operation = this.document.paths[path]?.[method] as Operation;
    const all = [...(this.document.paths[path]?.parameters ?? []), ...(operation.parameters ?? [])].map(
      (one) => this.resolved(one),
    );
    const name = `${method} ${path}`;
    return (
      this.wrongPath(all, values) ??
      this.wrongQuery(name, all, url.searchParams) ??
      this.wrongHeaders(all, request) ??
      this.wrongBody(name, operation, request) ?? {
        operation: name,
        parameters: values,
        query: url.searchParams,
      }
    );
  }

  /** Whether that is asked for beyond the document, with a reason. */
  isGap(operation: string, what: Gap['what'], name: string): boolean {
    const gap = gaps.find(
      (one) =>
        one.document === this.name && one.operation === operation && one.what === what && one.name === name,
    );
    if (gap !== undefined) this.needed.add(gap);
    return gap !== undefined;
  }

  /** The values, with all that the document demands of such an answer beside them. Throws where they break it. */
  answer(operation: string, status: number, values: unknown): unknown {
    const schema = this.schemaOf(operation, status);
    if (schema === undefined) throw new Error(`The document has no answer ${status} of ${operation}`);
    const whole = this.whole(schema, values);
    this.check(operation, status, schema, whole);
    return whole;
  }

  /** Throws where a refusal breaks the document, as far as that knows such a one. */
  refusal(operation: string, status: number, values: unknown): void {
    const schema = this.schemaOf(operation, status);
    if (schema !== undefined) this.check(operation, status, schema, values);
  }

  private check(operation: string, status: number, schema: Schema, values: unknown): void {
    const check = this.validator(`${operation} ${status}`, schema);
    if (!check(values)) throw new Error(`An answer of the test's forge breaks ${operation}: ${said(check)}`);
  }

  private match(
    method: string,
    pathname: string,
  ): { path: string; values: Record<string, string> } | undefined {
    const parts = pathname.split('/');
    const fitting = Object.keys(this.document.paths)
      .filter((path) => method in (this.document.paths[path] ?? {}))
      .flatMap((path) => {
        const pattern = path.split('/');
        if (pattern.length !== parts.length) return [];
        const values: Record<string, string> = {};
        for (const [i, one] of pattern.entries()) {
          const name = /^\{(.+)\}$/.exec(one)?.[1];
          if (name === undefined && one !== parts[i]) return [];
          if (name !== undefined) values[name] = decodeURIComponent(parts[i] ?? '');
        }
        return [{ path, values }];
      });
    return fitting.sort((a, b) => Object.keys(a.values).length - Object.keys(b.values).length)[0];
  }

  private wrongPath(all: readonly Parameter[], values: Record<string, string>): string | undefined {
    for (const [name, value] of Object.entries(values)) {
      const parameter = all.find((one) => one.in === 'path' && one.name === name);
      if (parameter === undefined) return `the document has no parameter ${name}`;
      if (value === '') return `${name} is empty`;
      const wrong = this.wrongText(`path ${name}`, parameter.schema, value);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  private wrongQuery(
    operation: string,
    all: readonly Parameter[],
    query: URLSearchParams,
  ): string | undefined {
    for (const [name, value] of query) {
      const parameter = all.find((one) => one.in === 'query' && one.name === name);
      if (parameter === undefined) {
        if (this.isGap(operation, 'query', name)) continue;
        return `the query has ${name}, which the document has not`;
      }
      const wrong = this.wrongText(`query ${name}`, parameter.schema, value);
      if (wrong !== undefined) return wrong;
    }
    const missing = all.find((one) => one.in === 'query' && one.required === true && !query.has(one.name));
    return missing && `the query has no ${missing.name}`;
  }

  private wrongHeaders(all: readonly Parameter[], { headers }: ContractRequest): string | undefined {
    const missing = all.find(
      (one) => one.in === 'header' && one.required === true && headers[one.name.toLowerCase()] === undefined,
    );
    if (missing !== undefined) return `the header ${missing.name} is missing`;
    if (!/json|\*\/\*/.test(String(headers.accept))) return `accept is ${String(headers.accept)}`;
    if (!headers['user-agent']) return 'there is no user agent';
    return undefined;
  }

  private wrongBody(
    name: string,
    operation: Operation,
    { body, headers }: ContractRequest,
  ): string | undefined {
    const wanted = operation.requestBody && this.resolved(operation.requestBody);
    if (body === undefined) return wanted?.required === true ? 'there is no body' : undefined;
    if (wanted === undefined) return 'there is a body, which the document has not';
    const type = String(headers['content-type']);
    const schema = wanted.content?.[type]?.schema;
    if (schema === undefined) return `the document has no body that is ${type}`;
    const check = this.validator(`${name} body`, schema);
    if (!check(body)) return `the body breaks the document: ${said(check)}`;
    // Schemas let anything pass that they do not name; a forge leaves it out without a word.
    const unknown = this.unknownIn(schema, body, '').find((one) => !this.isGap(name, 'body', one));
    return unknown === undefined ? undefined : `the body has ${unknown}, which the document has not`;
  }

  /** Names that a schema has not, at any depth: `source.branch.name`. */
  private unknownIn(given: Schema, value: unknown, at: string): string[] {
    const schema = this.resolved(given);
    const { items } = schema;
    if (Array.isArray(value))
      return items === undefined ? [] : value.flatMap((one) => this.unknownIn(items, one, at));
    const properties = this.propertiesOf(schema);
    if (!isObject(value) || properties.size === 0) return [];
    return Object.entries(value).flatMap(([name, inner]) => {
      const property = properties.get(name);
      return property === undefined ? [`${at}${name}`] : this.unknownIn(property, inner, `${at}${name}.`);
    });
  }

  private wrongText(what: string, schema: Schema | undefined, text: string): string | undefined {
    if (schema === undefined) return undefined;
    const { type } = this.resolved(schema);
    const value =
      (type === 'integer' || type === 'number') && /^-?\d+$/.test(text)
        ? Number(text)
        : type === 'boolean' && /^(true|false)$/.test(text)
          ? text === 'true'
          : type === 'array'
            ? text.split(',')
            : text;
    const check = this.validator(`${what} ${JSON.stringify(schema)}`, schema);
    return check(value) ? undefined : `${what} breaks the document: ${said(check)}`;
  }

  private schemaOf(operation: string, status: number): Schema | undefined {
    const [method = '', path = ''] = operation.split(' ');
    const response = (this.document.paths[path]?.[method] as Operation).responses[status];
    return response && Object.values(this.resolved(response).content ?? {})[0]?.schema;
  }

  private validator(key: string, schema: Schema): ValidateFunction {
    const there = this.compiled.get(key);
    if (there !== undefined) return there;
    const absolute = JSON.parse(
      JSON.stringify(schema).replaceAll('"#/components/', '"forge#/components/'),
    ) as Schema;
    const made = this.ajv.compile(absolute);
    this.compiled.set(key, made);
    return made;
  }

  private resolved<T extends object>(value: T): T {
    const { $ref } = value as { $ref?: string };
    if ($ref === undefined) return value;
    const [kind = '', name = ''] = $ref.replace(/^.*#\/components\//, '').split('/');
    return this.resolved(this.document.components[kind]?.[name] as T);
  }

  private propertiesOf(schema: Schema): Map<string, Schema> {
    const { properties = {}, allOf = [], anyOf = [], oneOf = [] } = this.resolved(schema);
    const inner = [...allOf, ...anyOf, ...oneOf].flatMap((one) => [...this.propertiesOf(one)]);
    return new Map([...Object.entries(properties), ...inner]);
  }

  /** Values over the least that fits a schema, wherever they have objects. */
  private whole(given: Schema, values: unknown): unknown {
    const schema = this.resolved(given);
    const { items } = schema;
    if (Array.isArray(values)) {
      const list = values as unknown[];
      return items === undefined ? list : list.map((one) => this.whole(items, one));
    }
    if (!isObject(values)) return values;
    const base = this.sample({ ...schema, nullable: false });
    const whole: Json = isObject(base) ? { ...base } : {};
    const properties = this.propertiesOf(schema);
    for (const [name, value] of Object.entries(values)) {
      const inner = properties.get(name);
      whole[name] = inner === undefined ? value : this.whole(inner, value);
    }
    return whole;
  }

  /** The least that fits a schema. */
  private sample(given: Schema): unknown {
    const schema = this.resolved(given);
    if (schema.allOf !== undefined)
      return Object.assign({}, ...schema.allOf.map((one) => this.sample(one))) as unknown;
    if (schema.enum !== undefined) return schema.enum[0];
    if (schema.nullable === true) return null;
    const [choice] = schema.anyOf ?? schema.oneOf ?? [];
    if (choice !== undefined) return this.sample(choice);
    switch (schema.type) {
      case 'string':
        return 'text';
      case 'integer':
      case 'number':
        return 1;
      case 'boolean':
        return false;
      case 'array':
        return [];
      default: {
        const names = schema.required ?? [];
        const properties = this.propertiesOf(schema);
        return Object.fromEntries(names.map((name) => [name, this.sample(properties.get(name) ?? {})]));
      }
    }
  }
}

/** What may be null is said in words of JSON Schema's: the ones of OpenAPI 3.0 go with a type only. */
function withNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNulls);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).map(([name, one]): [string, unknown] => [name, withNulls(one)]);
  const whole = Object.fromEntries(entries);
  if (whole.nullable !== true) return whole;
  if (Array.isArray(whole.enum)) whole.enum = [...(whole.enum as unknown[]), null];
  if ('type' in whole) return whole;
  const { nullable: _, ...rest } = whole;
  return { anyOf: [rest, { type: 'string', nullable: true, enum: [null] }] };
}

function said(check: ValidateFunction): string {
  return (check.errors ?? [])
    .slice(0, 3)
    .map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`)
    .join('; ');
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
