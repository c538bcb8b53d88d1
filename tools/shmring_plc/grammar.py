"""The grammars of both languages, for lark's LALR parser."""

_COMMON = r"""
array: ARRAY "[" range ("," range)* "]" OF _type
range: constant _RANGE constant
string: STRING ("[" constant "]" | "(" constant ")")?
named: name

_initial: _ASSIGN _value
_value: constant | values | fields
values: SQUARE (_item ("," _item)*)? "]"
_item: _value | repeated
repeated: constant "(" _value ")"
fields: ROUND field_value ("," field_value)* ")"
field_value: name _ASSIGN _value

?constant: product | constant "+" product -> add | constant "-" product -> subtract
?product: factor | product "*" factor -> multiply
?factor: DASH factor -> negative
    | "+" factor -> positive
    | "(" constant ")"
    | _literal
    | name "#" factor -> typed
    | name ("." name)* -> member
_literal: number | based | time | text
number: NUMBER
based: BASED
time: TIME
text: TEXT

ARRAY.2: /ARRAY\b/i
OF.2: /OF\b/i
STRING.2: /STRING\b/i
STRUCT.2: /STRUCT\b/i
END_STRUCT.2: /END_STRUCT\b/i
TYPE.2: /TYPE\b/i
END_TYPE.2: /END_TYPE\b/i
NAME: /[^\W\d]\w*/
TIME.3: /(TIME|LTIME|LT|T)#[-+]?[0-9][0-9A-Za-z_.]*/i
BASED.2: /[0-9]+#[0-9A-Fa-f_]+/
NUMBER: /[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][-+]?[0-9]+)?/
TEXT: /'(\$.|[^'$\n])*'/s
ROUND: "("
SQUARE: "["
DASH: "-"
_ASSIGN: ":="
_RANGE: ".."
%ignore /\s+/
"""

STRUCTURED_TEXT = (
    r"""
start: (TYPE definition* END_TYPE)*
definition: name ":" struct ";"?
    | name ":" (_type | enumeration) _initial? ";"
struct: STRUCT line* END_STRUCT
line: names ":" _type _initial? ";"
names: name ("," name)*
enumeration: ROUND enumerator ("," enumerator)* ")" name?
enumerator: name (_ASSIGN constant)?
_type: array | string | named | refused
refused: REFUSED
REFUSED.2: /(UNION|POINTER|REFERENCE)\b/i
name: NAME
"""
    + _COMMON
)

SCL = (
    r"""
start: (TYPE definition END_TYPE ";"?)*
definition: name ":"? _header* struct ";"?
_header: _TITLE | _HEADER ":" (NAME | _literal | QUOTED)
struct: STRUCT line* END_STRUCT
line: names ":" _type _initial? ";"
names: name
_type: array | string | named | struct
_TITLE.2: /TITLE\b[^\n]*/i
_HEADER.2: /(AUTHOR|FAMILY|NAME|VERSION)\b/i
QUOTED: /"[^"\n]+"/
name: NAME | QUOTED
"""
    + _COMMON
)
