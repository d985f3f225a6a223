//! Columns compared with fields: what is missing and what is left over, both in one error.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::plan::Plan;
use crate::{error, pyimport};

/// One field of a class.
pub(super) struct Wanted {
    /// The names under which the class takes it; the first is its own.
    pub(super) names: Vec<String>,
    pub(super) required: bool,
}

impl Wanted {
    pub(super) fn new(name: String, required: bool) -> Self {
        Self { names: vec![name], required }
    }

    fn takes(&self, column: &str) -> bool {
        self.names.iter().any(|name| name == column)
    }
}

/// All fields of a class.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) wanted: Vec<Wanted>,
    /// It takes any other name too.
    pub(super) open: bool,
}

impl Fields {
    /// What the class takes by keyword. `None`: its signature does not tell.
    pub(super) fn of_signature(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let Ok(signature) = pyimport::signature(class.py())?.call1((class,)) else { return Ok(None) };
        let mut fields = Self::default();
        for parameter in signature.getattr("parameters")?.call_method0("values")?.try_iter()? {
            let parameter = parameter?;
            match parameter.getattr("kind")?.getattr("name")?.extract::<String>()?.as_str() {
                "VAR_KEYWORD" => fields.open = true,
                "VAR_POSITIONAL" | "POSITIONAL_ONLY" => {}
                _ => {
                    let required = parameter.getattr("default")?.is(&parameter.getattr("empty")?);
                    fields.wanted.push(Wanted::new(parameter.getattr("name")?.extract()?, required));
                }
            }
        }
        Ok(Some(fields))
    }

    /// Raises if a field has no column or a column no field.
    pub(super) fn compare(&self, class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<()> {
        unique(class, plan)?;
        let lacking = |field: &&Wanted| field.required && !plan.columns.iter().any(|column| field.takes(&column.name));
        let missing: Vec<&str> =
            self.wanted.iter().filter(lacking).filter_map(|field| field.names.first()).map(String::as_str).collect();
        let surplus: Vec<&str> = plan
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !self.open && !self.wanted.iter().any(|field| field.takes(name)))
            .collect();
        let mut problems = Vec::new();
        if !missing.is_empty() {
            problems.push(format!("no column for its field{} {}", plural(&missing), missing.join(", ")));
        }
        if !surplus.is_empty() {
            problems.push(format!("no field for the column{} {}", plural(&surplus), surplus.join(", ")));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(error::programming_error(class.py(), format!("into={}: {}", class.name()?, problems.join("; "))))
    }
}

const fn plural(names: &[&str]) -> &'static str {
    if names.len() > 1 { "s" } else { "" }
}

/// Compares the columns with what the class takes by keyword, as far as its signature tells.
pub(super) fn compare_signature(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<()> {
    match Fields::of_signature(class)? {
        Some(fields) => fields.compare(class, plan),
        None => unique(class, plan),
    }
}

/// Raises if two columns share a name: one of them would be lost.
pub(super) fn unique(class: &Bound<'_, PyType>, plan: &Plan) -> PyResult<()> {
    for (index, column) in plan.columns.iter().enumerate() {
        if plan.columns[..index].iter().any(|other| other.name == column.name) {
            return Err(error::programming_error(
                class.py(),
                format!("into={}: two columns are named {:?}; give one an alias", class.name()?, column.name),
            ));
        }
    }
    Ok(())
}

/// Which column has this name.
pub(super) fn position(plan: &Plan, name: &str) -> Option<usize> {
    plan.columns.iter().position(|column| column.name == name)
}
