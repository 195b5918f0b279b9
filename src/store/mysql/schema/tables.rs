//! The tables as `sql/mysql/*.sql` declares them.
//!
//! The files are written so that lines suffice to read them: a statement ends with `;` at a line's
//! end, a table's columns and keys stand on a line each. Tests hold the files to it.

/// A column's or value's kind of type, and how much it holds. Of two types for one column the
/// greater holds what either does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Fixed number of characters.
    Char(u64),
    /// Bounded number of characters.
    Varchar(u64),
    /// TINYTEXT to LONGTEXT: the number of bytes of its length.
    Text(u32),
    /// TINYINT to BIGINT, by bytes.
    Int(u32),
    /// Whatever else: left as it is.
    Other,
}

/// Characters above which a bounded text of another's table becomes a TEXT: rows of a table share
/// 65,535 bytes.
const VARCHAR_MAX: u64 = 8192;

impl Type {
    /// From the name as the server and we write it, and the number of characters, if it has one.
    pub(super) fn new(name: &str, characters: u64) -> Type {
        match name.to_ascii_lowercase().as_str() {
            "char" => Type::Char(characters),
            "varchar" => Type::Varchar(characters),
            "tinytext" => Type::Text(1),
            "text" => Type::Text(2),
            "mediumtext" => Type::Text(3),
            "longtext" => Type::Text(4),
            "tinyint" => Type::Int(1),
            "smallint" => Type::Int(2),
            "mediumint" => Type::Int(3),
            "int" => Type::Int(4),
            "bigint" => Type::Int(8),
            _ => Type::Other,
        }
    }

    /// The type that holds what either holds; `bytes` is the most that a character of `self`
    /// takes after it was converted, relative to what it takes now.
    pub(super) fn widened(self, to: Type, growth: u64) -> Type {
        match (self, to) {
            (Type::Char(mine), Type::Char(its)) => Type::Char(mine.max(its)),
            (Type::Char(mine) | Type::Varchar(mine), Type::Char(its) | Type::Varchar(its)) => {
                match mine.max(its) {
                    most if most > VARCHAR_MAX => Type::Text(4),
                    most => Type::Varchar(most),
                }
            }
            (Type::Text(mine), Type::Text(its)) => Type::Text(grown(mine, growth).max(its)),
            (Type::Text(mine), Type::Char(its) | Type::Varchar(its)) => {
                Type::Text(grown(mine, growth).max(holding(its)))
            }
            (Type::Char(mine) | Type::Varchar(mine), Type::Text(its)) => {
                Type::Text(holding(mine).max(its))
            }
            (Type::Int(mine), Type::Int(its)) => Type::Int(mine.max(its)),
            _ => Type::Other,
        }
    }

    /// As it stands in a statement; `None` where it is left as it is.
    pub(super) fn sql(self) -> Option<String> {
        Some(match self {
            Type::Char(characters) => format!("CHAR({characters})"),
            Type::Varchar(characters) => format!("VARCHAR({characters})"),
            Type::Text(1) => "TINYTEXT".to_owned(),
            Type::Text(2) => "TEXT".to_owned(),
            Type::Text(3) => "MEDIUMTEXT".to_owned(),
            Type::Text(_) => "LONGTEXT".to_owned(),
            Type::Int(8) => "BIGINT".to_owned(),
            Type::Int(_) => "INT".to_owned(),
            Type::Other => return None,
        })
    }

    /// Whether it holds text.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Type::Char(_) | Type::Varchar(_) | Type::Text(_))
    }
}

/// The TEXT that holds this many characters of up to four bytes.
fn holding(characters: u64) -> u32 {
    if characters * 4 > u64::from(u16::MAX) {
        3
    } else {
        2
    }
}

/// The TEXT that holds a full TEXT whose characters take `growth` times the bytes.
fn grown(length: u32, growth: u64) -> u32 {
    if growth > 1 {
        (length + 1).min(4)
    } else {
        length
    }
}

/// A column as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Type,
    /// Its collation, if it holds text.
    pub(super) collation: Option<String>,
    /// What stands behind the name.
    pub(super) definition: String,
    /// What stands behind the type.
    pub(super) rest: String,
}

/// A key as declared, the primary key left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    /// From `KEY` or `UNIQUE KEY` on.
    pub(super) definition: String,
}

/// A table as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<Key>,
    /// What stands behind the columns.
    pub(super) options: String,
}

/// The statements of a file, without comments and the `;`.
pub(super) fn statements(file: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    for line in file.lines().filter(|line| !line.starts_with("--")) {
        match line.strip_suffix(';') {
            Some(last) => {
                statement.push_str(last);
                statements.push(std::mem::take(&mut statement));
            }
            None if line.is_empty() => {}
            None => {
                statement.push_str(line);
                statement.push('\n');
            }
        }
    }
    statements
}

/// The table that a statement makes, if it makes one.
pub(super) fn table(statement: &str) -> Option<Table> {
    let mut lines = statement.lines();
    let name = lines
        .next()?
        .strip_prefix("CREATE TABLE IF NOT EXISTS ")?
        .strip_suffix(" (")?;
    let mut table = Table {
        name: name.to_owned(),
        columns: Vec::new(),
        keys: Vec::new(),
        options: String::new(),
    };
    for line in lines {
        if let Some(options) = line.strip_prefix(") ") {
            options.clone_into(&mut table.options);
            continue;
        }
        let line = line.trim().trim_end_matches(',');
        if line.starts_with("PRIMARY KEY") {
            continue;
        }
        match line.split_once("KEY ") {
            Some(("" | "UNIQUE ", key)) => table.keys.push(Key {
                name: key.split(' ').next()?.to_owned(),
                definition: line.to_owned(),
            }),
            _ => table.columns.push(column(line)?),
        }
    }
    let default = table.options.rsplit_once("COLLATE=")?.1.to_owned();
    for column in &mut table.columns {
        if column.kind.is_text() && column.collation.is_none() {
            column.collation = Some(default.clone());
        }
    }
    Some(table)
}

fn column(line: &str) -> Option<Column> {
    let (name, definition) = line.split_once(' ')?;
    let (kind, rest) = definition.split_once(' ').unwrap_or((definition, ""));
    let (word, characters) = match kind.split_once('(') {
        Some((word, number)) => (word, number.strip_suffix(')')?.parse().ok()?),
        None => (kind, 0),
    };
    let collation = rest
        .strip_prefix("COLLATE ")
        .and_then(|rest| rest.split(' ').next());
    Some(Column {
        name: name.trim_matches('`').to_owned(),
        kind: Type::new(word, characters),
        collation: collation.map(ToOwned::to_owned),
        definition: definition.to_owned(),
        rest: rest.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MAIN_SCHEMA, WINDOW_SCHEMA};
    use super::*;

    #[test]
    fn the_files_are_read_whole() {
        for (file, others) in [(MAIN_SCHEMA, 1), (WINDOW_SCHEMA, 0)] {
            let statements = statements(file);
            let tables: Vec<_> = statements.iter().filter_map(|text| table(text)).collect();
            assert_eq!(tables.len() + others, statements.len());
            for table in tables {
                assert!(!table.columns.is_empty(), "{table:?}");
                assert!(table.options.starts_with("ENGINE=InnoDB"), "{table:?}");
                for column in &table.columns {
                    let name = column
                        .name
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_');
                    assert!(name, "{column:?}");
                }
            }
        }
    }

    #[test]
    fn a_table_is_read_as_it_stands() {
        let all: Vec<_> = statements(MAIN_SCHEMA);
        let links = all
            .iter()
            .filter_map(|text| table(text))
            .find(|t| t.name == "links");
        let links = links.unwrap();
        let link = links
            .columns
            .iter()
            .find(|column| column.name == "hyperLink")
            .unwrap();
        assert_eq!(link.kind, Type::Varchar(8192));
        assert_eq!(link.collation.as_deref(), Some("utf8mb4_general_ci"));
        let hash = links
            .columns
            .iter()
            .find(|column| column.name == "hash")
            .unwrap();
        assert_eq!((hash.kind, hash.collation.as_deref()), (Type::Other, None));
        assert_eq!(hash.definition, "BINARY(16) NULL");
        assert_eq!(links.keys[0].definition, "KEY links_spam (spam_id, hash)");
        assert_eq!(links.keys[0].name, "links_spam");
    }

    #[test]
    fn a_column_is_never_narrowed() {
        let widened = |from: Type, to: Type, growth| from.widened(to, growth).sql().unwrap();
        assert_eq!(
            widened(Type::Varchar(255), Type::Varchar(8192), 1),
            "VARCHAR(8192)"
        );
        assert_eq!(widened(Type::Char(64), Type::Char(32), 1), "CHAR(64)");
        assert_eq!(widened(Type::Varchar(40), Type::Char(32), 1), "VARCHAR(40)");
        assert_eq!(widened(Type::Text(2), Type::Varchar(4096), 1), "TEXT");
        assert_eq!(widened(Type::Text(2), Type::Varchar(4096), 3), "MEDIUMTEXT");
        assert_eq!(widened(Type::Text(4), Type::Text(3), 1), "LONGTEXT");
        assert_eq!(
            widened(Type::Varchar(30_000), Type::Varchar(4096), 1),
            "LONGTEXT"
        );
        assert_eq!(
            widened(Type::Varchar(30_000), Type::Text(2), 1),
            "MEDIUMTEXT"
        );
        assert_eq!(widened(Type::Int(4), Type::Int(8), 1), "BIGINT");
        assert_eq!(Type::Other.widened(Type::Int(8), 1).sql(), None);
    }
}
