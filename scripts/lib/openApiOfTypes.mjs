// Reads back an OpenAPI document out of the declarations that openapi-typescript made of it. Lengths, patterns and whole numbers are
// lost on the way there; paths, methods, parameters, bodies, names, types and what is required are not.
import ts from 'typescript';

/** @param {string} text Declarations with the interfaces `paths`, `components` and `operations`. */
export function openApiOfTypes(text) {
  const source = ts.createSourceFile('api.d.ts', text, ts.ScriptTarget.Latest, true);
  const interfaces = new Map(
    source.statements.filter(ts.isInterfaceDeclaration).map((one) => [one.name.text, one]),
  );
  const schemas = membersOf(membersOf(interfaces.get('components')).schemas?.type);
  const components = Object.fromEntries(
    Object.entries(schemas).map(([name, { type }]) => [name, schemaOf(type)]),
  );
  const operations = membersOf(interfaces.get('operations'));
  const paths = Object.fromEntries(
    Object.entries(membersOf(interfaces.get('paths'))).map(([path, { type }]) => [path, pathOf(type)]),
  );
  return { openapi: '3.0.3', paths, components: { schemas: components } };

  function pathOf(type) {
    const { parameters, ...methods } = membersOf(type);
    const found = Object.entries(methods)
      .filter(([, one]) => !isNever(one.type))
      .map(([method, one]) => [method, operationOf(one.type)]);
    return { parameters: parametersOf(parameters), ...Object.fromEntries(found) };
  }

  function operationOf(type) {
    const { parameters, requestBody, responses } = membersOf(
      ts.isIndexedAccessTypeNode(type) ? operations[keyOf(type)].type : type,
    );
    const body = requestBody === undefined || isNever(requestBody.type) ? undefined : requestBody;
    return {
      parameters: parametersOf(parameters),
      ...(body === undefined
        ? {}
        : { requestBody: { required: !body.optional, content: contentOf(membersOf(body.type).content) } }),
      responses: Object.fromEntries(
        Object.entries(membersOf(responses.type)).map(([status, one]) => [
          status,
          { content: contentOf(membersOf(one.type).content) },
        ]),
      ),
    };
  }

  function parametersOf(parameters) {
    return Object.entries(membersOf(parameters?.type)).flatMap(([where, group]) =>
      Object.entries(membersOf(group.type)).map(([name, { type, optional }]) => ({
        name,
        in: where,
        required: !optional,
        schema: schemaOf(type),
      })),
    );
  }

  function contentOf(content) {
    return Object.fromEntries(
      Object.entries(membersOf(content?.type)).map(([media, { type }]) => [
        media,
        { schema: schemaOf(type) },
      ]),
    );
  }

  function schemaOf(type) {
    if (ts.isParenthesizedTypeNode(type) || ts.isTypeOperatorNode(type)) return schemaOf(type.type);
    if (ts.isIntersectionTypeNode(type)) return { allOf: type.types.map(schemaOf) };
    if (ts.isArrayTypeNode(type)) return { type: 'array', items: schemaOf(type.elementType) };
    if (ts.isLiteralTypeNode(type)) return literal(type);
    if (ts.isUnionTypeNode(type)) return unionOf(type);
    if (ts.isTypeLiteralNode(type)) return objectOf(type);
    if (ts.isIndexedAccessTypeNode(type)) return { $ref: `#/components/schemas/${keyOf(type)}` };
    if (ts.isTypeReferenceNode(type)) return referenceOf(type);
    if (type.kind === ts.SyntaxKind.StringKeyword) return { type: 'string' };
    if (type.kind === ts.SyntaxKind.NumberKeyword) return { type: 'number' };
    if (type.kind === ts.SyntaxKind.BooleanKeyword) return { type: 'boolean' };
    if (type.kind === ts.SyntaxKind.UnknownKeyword) return {};
    throw new Error(`No schema of ${type.getText()}`);
  }

  function literal({ literal: value }) {
    if (value.kind === ts.SyntaxKind.NullKeyword) return { type: 'string', nullable: true, enum: [null] };
    if (value.kind === ts.SyntaxKind.TrueKeyword) return { enum: [true] };
    if (value.kind === ts.SyntaxKind.FalseKeyword) return { enum: [false] };
    return { enum: [ts.isNumericLiteral(value) ? Number(value.text) : value.text] };
  }

  function unionOf({ types }) {
    const some = types.map(schemaOf);
    return some.every((one) => 'enum' in one) ? { enum: some.flatMap((one) => one.enum) } : { anyOf: some };
  }

  function objectOf(type) {
    const entries = Object.entries(membersOf(type)).filter(([, one]) => !isNever(one.type));
    const required = entries.filter(([, { optional }]) => !optional).map(([name]) => name);
    return {
      type: 'object',
      ...(required.length === 0 ? {} : { required }),
      properties: Object.fromEntries(entries.map(([name, one]) => [name, schemaOf(one.type)])),
    };
  }

  function referenceOf(type) {
    const [first, second] = type.typeArguments ?? [];
    switch (type.typeName.getText()) {
      case 'Readonly':
        return schemaOf(first);
      case 'Record':
        return { type: 'object' };
      case 'Omit':
        // What is left out says which of several it is, and stands beside.
        return without(schemas[keyOf(first)].type, second.literal.text);
      default:
        throw new Error(`No schema of ${type.getText()}`);
    }
  }

  function without(type, name) {
    const strip = ({ allOf, required, properties, ...rest }) => {
      const { [name]: _, ...others } = properties ?? {};
      const left = required?.filter((one) => one !== name) ?? [];
      return {
        ...rest,
        ...(allOf === undefined ? {} : { allOf: allOf.map(strip) }),
        ...(left.length === 0 ? {} : { required: left }),
        ...(properties === undefined ? {} : { properties: others }),
      };
    };
    return strip(schemaOf(type));
  }
}

/** Of an interface or an object's type: each by its name. An index signature says nothing that is asked for here. */
function membersOf(node) {
  const members = (node?.members ?? []).filter(ts.isPropertySignature);
  return Object.fromEntries(
    members.map((one) => [one.name.text, { type: one.type, optional: one.questionToken !== undefined }]),
  );
}

/** The last key of `components["schemas"]["x"]`. */
function keyOf(type) {
  return type.indexType.literal.text;
}

function isNever(type) {
  return type.kind === ts.SyntaxKind.NeverKeyword;
}
