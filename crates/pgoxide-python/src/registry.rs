//! What is known about types that are not built in: their kinds, parts and names, as the catalog tells them.
//!
//! ```text
//!   TypeRegistry (of a pool, or of a lone connection)
//!     └─ Catalog, one for each database: oid -> TypeInfo
//!          ▲
//!   Types (of a connection): the catalog of its database; while it is in a transaction that has altered types, one of its own
//! ```
//!
//! The values of a composite type do not say the names of their fields, so nothing shows when those are others than they were.
//! A connection therefore forgets what it knew when it alters a type or table, and so do those that share it once that is
//! committed; what another program alters is seen when the number or types of the fields differ, or by `reload_types()`.
//!
//! Nothing here holds a Python object. A registry that several connections share is keyed by what a database is ([`Identity`]),
//! which each connection asks for before it trusts what others have learnt: a database of the same name may have been dropped
//! and made anew.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pgoxide_types::oid;
use pyo3::prelude::*;

use crate::sync::lock;

/// One type of a database.
#[derive(Debug)]
pub(crate) struct TypeInfo {
    pub(crate) oid: u32,
    pub(crate) name: Box<str>,
    pub(crate) schema: Box<str>,
    /// The extension it belongs to, wherever that was installed.
    pub(crate) extension: Option<Box<str>>,
    pub(crate) kind: TypeKind,
}

/// What a type consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TypeKind {
    Base,
    Array {
        element: u32,
        delimiter: u8,
    },
    Domain {
        base: u32,
    },
    Enum {
        labels: Box<[Box<str>]>,
    },
    Composite {
        fields: Box<[FieldInfo]>,
    },
    Range {
        bound: u32,
    },
    Multirange {
        range: u32,
    },
    /// The catalog has none of this OID.
    Missing,
}

/// One field of a composite type; dropped ones are left out, as the server leaves them out of values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldInfo {
    pub(crate) name: Box<str>,
    pub(crate) oid: u32,
}

impl TypeInfo {
    /// Its extension and its name.
    pub(crate) fn of_extension(&self) -> Option<(&str, &str)> {
        Some((self.extension.as_deref()?, &self.name))
    }

    /// The types it is made of.
    fn parts(&self) -> Vec<u32> {
        match &self.kind {
            TypeKind::Base | TypeKind::Enum { .. } | TypeKind::Missing => Vec::new(),
            TypeKind::Array { element: one, .. }
            | TypeKind::Domain { base: one }
            | TypeKind::Range { bound: one }
            | TypeKind::Multirange { range: one } => vec![*one],
            TypeKind::Composite { fields } => fields.iter().map(|field| field.oid).collect(),
        }
    }
}

/// The types of one database, as far as they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    types: Mutex<HashMap<u32, Arc<TypeInfo>>>,
    /// How often it was forgotten: what was made of it before is outdated.
    generation: AtomicU64,
}

impl Catalog {
    pub(crate) fn get(&self, oid: u32) -> Option<Arc<TypeInfo>> {
        lock(&self.types).get(&oid).cloned()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes over what was asked for at `generation`. Nothing when it was forgotten meanwhile: that may be older.
    pub(crate) fn learn(&self, found: Vec<TypeInfo>, generation: u64) {
        let mut types = lock(&self.types);
        if self.generation() == generation {
            types.extend(found.into_iter().map(|info| (info.oid, Arc::new(info))));
        }
    }

    /// All is to be asked for again.
    pub(crate) fn forget(&self) {
        let mut types = lock(&self.types);
        self.generation.fetch_add(1, Ordering::AcqRel);
        types.clear();
    }

    /// Composite types are to be asked for again; of others nothing can change that matters: a label is its own name.
    fn altered(&self) {
        let mut types = lock(&self.types);
        self.generation.fetch_add(1, Ordering::AcqRel);
        types.retain(|_, info| !matches!(info.kind, TypeKind::Composite { .. }));
    }

    /// Which of these types, and of those they are made of, are not known.
    fn unknown(&self, oids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let types = lock(&self.types);
        let (mut unknown, mut seen) = (Vec::new(), HashSet::new());
        let mut look: Vec<u32> = oids.into_iter().collect();
        while let Some(oid) = look.pop() {
            if is_static(oid) || !seen.insert(oid) {
                continue;
            }
            match types.get(&oid) {
                Some(info) => look.extend(info.parts()),
                None => unknown.push(oid),
            }
        }
        unknown
    }
}

/// Known without asking.
pub(crate) fn is_static(oid: u32) -> bool {
    oid == 0 || oid::name(oid).is_some()
}

/// What a database is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The system identifier of its cluster. A copy of a cluster has it too.
    pub(crate) system: Box<str>,
    /// Its OID.
    pub(crate) database: u32,
    /// When its server was started, in microseconds: this tells copies apart, and a cluster from what it was before it was
    /// restored. A server that is started again is asked again.
    pub(crate) started: i64,
}

/// Catalogs by database.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    catalogs: Mutex<HashMap<Identity, Arc<Catalog>>>,
}

impl Shared {
    fn catalog(&self, identity: Identity) -> Arc<Catalog> {
        let mut catalogs = lock(&self.catalogs);
        // What the server was before it was started again is of no use to anybody.
        catalogs.retain(|other, catalog| {
            (&*other.system, other.database) != (&*identity.system, identity.database)
                || other.started == identity.started
                || Arc::strong_count(catalog) > 1
        });
        Arc::clone(catalogs.entry(identity).or_default())
    }
}

/// Where a connection looks types up.
#[derive(Debug)]
struct Current {
    /// That of its database. None: which one is shared is not known yet.
    catalog: Option<Arc<Catalog>>,
    /// The same, while `catalog` is of the transaction alone.
    outside: Option<Arc<Catalog>>,
}

impl Current {
    fn of(catalog: Option<Arc<Catalog>>) -> Mutex<Self> {
        Mutex::new(Self { catalog, outside: None })
    }

    fn each(&self, act: impl Fn(&Catalog)) {
        self.catalog.iter().chain(&self.outside).for_each(|catalog| act(catalog));
    }
}

/// What one connection knows of types.
#[derive(Debug)]
pub(crate) struct Types {
    shared: Option<Arc<Shared>>,
    current: Mutex<Current>,
    /// Its transaction has altered types: what it learns is kept apart until that is over, since nobody else sees it yet.
    altered: AtomicBool,
    /// Types met inside values that nobody had announced.
    noted: Mutex<Vec<u32>>,
}

impl Default for Types {
    fn default() -> Self {
        Self {
            shared: None,
            current: Current::of(Some(Arc::default())),
            altered: AtomicBool::new(false),
            noted: Mutex::default(),
        }
    }
}

impl Types {
    /// Of a connection that shares what it learns.
    pub(crate) fn shared(registry: &TypeRegistry) -> Self {
        Self { shared: Some(Arc::clone(&registry.0)), current: Current::of(None), ..Self::default() }
    }

    pub(crate) fn catalog(&self) -> Option<Arc<Catalog>> {
        lock(&self.current).catalog.clone()
    }

    pub(crate) fn get(&self, oid: u32) -> Option<Arc<TypeInfo>> {
        lock(&self.current).catalog.as_ref()?.get(oid)
    }

    /// Which of these types must be asked for before their values can be read or written.
    pub(crate) fn unknown(&self, oids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut oids = oids.into_iter().filter(|oid| !is_static(*oid)).peekable();
        if oids.peek().is_none() {
            return Vec::new();
        }
        match self.catalog() {
            Some(catalog) => catalog.unknown(oids),
            None => oids.collect(),
        }
    }

    /// Where one of these types was looked up, and its generation; None when all are built in.
    pub(crate) fn catalog_of(&self, mut oids: impl Iterator<Item = u32>) -> Option<(Arc<Catalog>, u64)> {
        if oids.all(is_static) {
            return None;
        }
        self.catalog().map(|catalog| {
            let generation = catalog.generation();
            (catalog, generation)
        })
    }

    /// Which database the connection is to.
    pub(crate) fn identify(&self, identity: Identity) {
        let Some(shared) = &self.shared else { return };
        let catalog = shared.catalog(identity);
        let mut current = lock(&self.current);
        if self.is_altered() {
            current.outside = Some(catalog);
            current.catalog = Some(Arc::default());
        } else {
            current.catalog = Some(catalog);
        }
    }

    /// Which database it is cannot be known: what is learnt stays with the connection.
    pub(crate) fn stay_alone(&self) {
        lock(&self.current).catalog = Some(Arc::default());
    }

    /// All is to be asked for again, by whoever shares it.
    pub(crate) fn forget(&self) {
        lock(&self.current).each(Catalog::forget);
    }

    /// A command came to its end that may have altered types, or the transaction that did.
    pub(crate) fn completed(&self, tag: &[u8]) {
        const ALTERING: [&[u8]; 6] = [
            b"ALTER TYPE",
            b"ALTER TABLE",
            b"ALTER VIEW",
            b"ALTER MATERIALIZED VIEW",
            b"ALTER FOREIGN TABLE",
            b"COMMIT PREPARED",
        ];
        // Looked at for each command there is: most begin with another letter.
        match tag.first() {
            Some(b'A' | b'C') if ALTERING.contains(&tag) => self.altered(),
            // Of a savepoint, or AND CHAIN: the next transaction has begun.
            Some(b'C' | b'R') if matches!(tag, b"COMMIT" | b"ROLLBACK") && self.is_altered() => self.altered(),
            _ => {}
        }
    }

    #[cold]
    fn altered(&self) {
        let mut current = lock(&self.current);
        current.each(Catalog::altered);
        if !self.altered.swap(true, Ordering::AcqRel) {
            current.outside = current.catalog.take();
            current.catalog = current.outside.is_some().then(Arc::default);
        }
    }

    /// There is no transaction any more: what it altered is so for all, or was never so.
    #[inline]
    pub(crate) fn idle(&self) {
        if self.is_altered() {
            let mut current = lock(&self.current);
            // Whatever was described by its own catalog is described anew.
            current.each(Catalog::altered);
            current.catalog = current.outside.take();
            self.altered.store(false, Ordering::Release);
        }
    }

    fn is_altered(&self) -> bool {
        self.altered.load(Ordering::Acquire)
    }

    /// A value holds a type that is not known: reading it must wait.
    pub(crate) fn note(&self, oid: u32) {
        lock(&self.noted).push(oid);
    }

    /// The types that were noted since.
    pub(crate) fn take_noted(&self) -> Vec<u32> {
        std::mem::take(&mut *lock(&self.noted))
    }

    /// What an array's elements are.
    pub(crate) fn element(&self, oid: u32) -> Option<u32> {
        oid::element(oid).or_else(|| match self.get(oid)?.kind {
            TypeKind::Array { element, .. } => Some(element),
            _ => None,
        })
    }

    /// A type's name for people; of an array as SQL writes it.
    pub(crate) fn name(&self, oid: u32) -> String {
        self.element(oid).map_or_else(|| self.own_name(oid), |element| format!("{}[]", self.own_name(element)))
    }

    fn own_name(&self, oid: u32) -> String {
        if let Some(name) = oid::name(oid) {
            return name.to_owned();
        }
        match self.get(oid) {
            Some(info) if info.kind != TypeKind::Missing => info.name.to_string(),
            _ => format!("type {oid}"),
        }
    }
}

/// What connections know of the types of their databases. Connections that share one (those of a pool do) ask for a type once.
#[pyclass(frozen, module = "pgoxide._core")]
pub(crate) struct TypeRegistry(Arc<Shared>);

#[pymethods]
impl TypeRegistry {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// How many types are known, of all databases.
    fn __len__(&self) -> usize {
        lock(&self.0.catalogs).values().map(|catalog| lock(&catalog.types).len()).sum()
    }

    /// Forgets all of them: each is asked for again when it is next met.
    fn clear(&self) {
        lock(&self.0.catalogs).values().for_each(|catalog| catalog.forget());
    }
}
