// Simplifies the OpenAPI document for the page: the same API with fewer entries. openapi.json has everything.

const simplify = (description) => {
  const { session, ...schemes } = description.components.securitySchemes; // Scripts cannot send this cookie.
  return {
    ...description,
    info: { ...description.info, description: folded("How it works", description.info.description) },
    security: description.security.filter((need) => !("session" in need)),
    components: { ...description.components, securitySchemes: schemes },
    paths: Object.fromEntries(
      Object.entries(description.paths).map(([path, { head, ...item }]) => [
        path,
        { ...item, parameters: parameters(item.parameters) },
      ]),
    ),
  };
};

// Combines `filter[a]`, `filter[b]` to one parameter `filter` with members. Common parameters come first.
const ORDER = ["id", "filter", "sort", "page", "include", "fields", "format", "count"];

const parameters = (all = []) => {
  const families = new Map();
  for (const parameter of all) {
    const [, family, member] = /^(\w+)\[(.+)\]$/.exec(parameter.name ?? "") ?? [];
    if (family) families.set(family, { ...families.get(family), [member]: parameter });
    else families.set(parameter.name ?? parameter.$ref, parameter.$ref ? parameter : plain(parameter));
  }
  const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...families]
    .sort(([one], [other]) => place(one) - place(other))
    .map(([name, found]) => (found.in || found.$ref ? found : grouped(name, found)));
};

const MEANINGS = {
  filter: ["Conditions, combined with and.", "filters"],
  page: ["Pagination.", "page parameters"],
  fields: ["Only these attributes and relationships, by type.", "types"],
};

// The format selects the component; the empty example prevents a generated one.
const grouped = (name, members) => ({
  name,
  in: "query",
  description: `${MEANINGS[name][0]} ${folded(`all ${Object.keys(members).length} ${MEANINGS[name][1]}`, table(members))}`,
  style: "deepObject",
  explode: true,
  schema: {
    type: "object",
    format: "members",
    example: {},
    properties: Object.fromEntries(
      Object.entries(members).map(([member, { description, schema }]) => [member, { ...schema, description }]),
    ),
  },
});

// Lists as comma-separated text, because a select box would lose the order.
const plain = (parameter) => {
  const names = parameter.schema?.items?.enum;
  if (!names) return parameter;
  if (names.length === 1) return { ...parameter, schema: { type: "string", enum: names } };
  const listed = folded(`all ${names.length} names`, names.map((name) => `<code>${name}</code>`).join(", "));
  return { ...parameter, description: `${parameter.description} ${listed}`, schema: { type: "string" } };
};

const folded = (title, text) => `\n\n<details><summary>${title}</summary>\n\n${text}\n\n</details>`;

const table = (members) => {
  const rows = Object.entries(members).map(
    ([name, { description, schema }]) =>
      `<tr><td><code>${name}</code></td><td>${kind(schema)}</td><td>${code(description)}</td></tr>`,
  );
  return `<table><tbody>${rows.join("")}</tbody></table>`;
};

const kind = (schema) => {
  if (schema.type === "array") return `${kind(schema.items)}, …`;
  return schema.$ref ? schema.$ref.split("/").pop() : schema.type === "string" && schema.enum ? "name" : schema.type;
};

const code = (text) => text.replaceAll("<", "&lt;").replaceAll(/`([^`]*)`/g, "<code>$1</code>");
