// Additions to Swagger UI: a search for operations, and a form for parameters with many members.

const additions = ({ React }) => {
  const element = React.createElement;

  // Rows of members and values. The combined value is JSON, as Swagger UI stores objects.
  const Members = ({ value, schema, onChange, disabled }) => {
    const members = schema.get("properties");
    const [rows, setRows] = React.useState(() => read(value));
    const [told, setTold] = React.useState(value);
    if (told !== value) {
      setTold(value); // It was reset.
      setRows(read(value));
    }
    const change = (changed) => {
      const text = JSON.stringify(Object.fromEntries(changed.filter(([name]) => members.has(name))));
      setRows(changed);
      setTold(text);
      onChange(text);
    };
    const replace = (number, row) => change(rows.map((old, other) => (other === number ? row : old)));
    return element(
      "div",
      { className: "members" },
      rows.map(([name, text], number) =>
        element(
          "div",
          { className: "member", key: number },
          element(Choice, { members, name, disabled, onChoose: (chosen) => replace(number, [chosen, text]) }),
          element(Value, { schema: members.get(name), text, disabled, onType: (typed) => replace(number, [name, typed]) }),
          element(
            "button",
            {
              className: "btn remove",
              type: "button",
              "aria-label": `remove ${name}`,
              onClick: () => change(rows.filter((_, other) => other !== number)),
            },
            "×",
          ),
          element("p", null, meaning(members, name)),
        ),
      ),
      element(
        "button",
        { className: "btn add", type: "button", disabled, onClick: () => change([...rows, ["", ""]]) },
        rows.length ? "add another" : "add",
      ),
    );
  };

  const read = (value) => {
    try {
      return Object.entries(JSON.parse(value || "{}"));
    } catch {
      return [];
    }
  };

  const meaning = (members, name) => {
    if (members.has(name)) return members.getIn([name, "description"])?.replaceAll("`", "");
    return name ? "Unknown name." : `Type part of a name to choose one of ${members.size}.`;
  };

  // A select box for few names, or a text field with suggestions.
  const Choice = ({ members, name, disabled, onChoose }) => {
    const list = React.useId();
    const names = [...members.keys()];
    const options = names.map((each) => element("option", { key: each, value: each }, names.length > 12 ? null : each));
    const common = { value: name, disabled, "aria-label": "name", onChange: (event) => onChoose(event.target.value) };
    if (names.length <= 12) {
      return element("select", common, element("option", { value: "", disabled: true }, "choose"), options);
    }
    return [
      element("input", { key: "input", type: "text", list, placeholder: "name, such as duration_gteq", ...common }),
      element("datalist", { key: "list", id: list }, options),
    ];
  };

  const Value = ({ schema, text, disabled, onType }) => {
    const common = { value: text, disabled, "aria-label": "value", onChange: (event) => onType(event.target.value) };
    if (schema?.get("type") === "boolean") {
      const options = ["", "true", "false"].map((each) => element("option", { key: each, value: each }, each));
      return element("select", common, options);
    }
    const hint = schema?.get("type") === "array" ? "values, separated by commas" : "value";
    return element("input", { type: "text", placeholder: hint, ...common });
  };

  const Search = ({ layoutSelectors, layoutActions }) =>
    element(
      "div",
      { className: "filter wrapper" },
      element("input", {
        className: "operation-filter-input",
        type: "search",
        placeholder: "Search operations, such as rec or account",
        "aria-label": "Search operations",
        value: layoutSelectors.currentFilter() === true ? "" : layoutSelectors.currentFilter() || "",
        onChange: (event) => layoutActions.updateFilter(event.target.value || true),
      }),
    );

  // Case-insensitive, by path, summary or tag.
  const opsFilter = (tags, phrase) => {
    const matches = (tag) => (operation) =>
      [tag, operation.get("path"), operation.getIn(["operation", "summary"])]
        .join(" ")
        .toLowerCase()
        .includes(phrase.toLowerCase());
    return tags
      .map((found, tag) => found.update("operations", (operations) => operations.filter(matches(tag))))
      .filter((found) => found.get("operations").size > 0);
  };

  return { components: { JsonSchema_object_members: Members, FilterContainer: Search }, fn: { opsFilter } };
};
