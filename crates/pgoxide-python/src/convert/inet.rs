//! inet as an address, or as an interface when it has a mask; cidr as a network: the classes of `ipaddress`.
//!
//! Their constructors parse and cost microseconds, so instances are filled as the constructors fill them. That is not
//! trusted: on first use what the classes themselves make is compared with ours, attribute by attribute, and where one
//! differs the constructor is called for each value.

use pgoxide_types::inet::{self as wire, Address, Inet};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use super::{Converted, refuse, wrong_type};
use crate::ffi::slots::{self, Slot};

/// The classes of one family, and how their instances are filled.
struct Family {
    address: Py<PyType>,
    interface: Py<PyType>,
    network: Py<PyType>,
    /// `None`: by their constructors.
    fill: Option<Fill>,
}

struct Fill {
    ip: Slot,
    /// IPv6 only; always `None` here, since the server has no scopes.
    scope: Option<Slot>,
    /// The netmask object of each prefix length, which the classes share between their instances too.
    netmasks: Box<[Py<PyAny>]>,
}

/// The address's number, as `_ip` holds it.
fn number(py: Python<'_>, address: Address) -> Converted<'_> {
    Ok(match address {
        Address::V4(address) => address.into_pyobject(py)?.into_any(),
        Address::V6(address) => address.into_pyobject(py)?.into_any(),
    })
}

impl Family {
    fn of(py: Python<'_>, address: Address) -> PyResult<&Self> {
        static V4: PyOnceLock<Family> = PyOnceLock::new();
        static V6: PyOnceLock<Family> = PyOnceLock::new();
        match address {
            Address::V4(_) => V4.get_or_try_init(py, || Self::find(py, address, 4)),
            Address::V6(_) => V6.get_or_try_init(py, || Self::find(py, address, 6)),
        }
    }

    fn find(py: Python<'_>, sample: Address, version: u8) -> PyResult<Self> {
        let module = py.import("ipaddress")?;
        let class = |kind: &str| -> PyResult<Py<PyType>> {
            Ok(module.getattr(format!("IPv{version}{kind}"))?.cast_into::<PyType>()?.unbind())
        };
        let mut family =
            Self { address: class("Address")?, interface: class("Interface")?, network: class("Network")?, fill: None };
        let Some(ip) = Slot::of(family.address.bind(py), "_ip")? else { return Ok(family) };
        let scope = Slot::of(family.address.bind(py), "_scope_id")?;
        let netmasks = (0..=sample.bits())
            .map(|prefix| Ok(family.network.bind(py).call1(((0, prefix),))?.getattr("netmask")?.unbind()))
            .collect::<PyResult<_>>()?;
        family.fill = Some(Fill { ip, scope, netmasks });
        if !family.is_as_expected(py, sample)? {
            family.fill = None;
        }
        Ok(family)
    }

    /// Compares what the classes make with what we make.
    #[cold]
    fn is_as_expected(&self, py: Python<'_>, like: Address) -> PyResult<bool> {
        let samples = match like {
            Address::V4(_) => [0, 1, 0x0a01_0203, u32::MAX].map(Address::V4),
            Address::V6(_) => [0, 1, 0x2001_0db8 << 96 | 7, u128::MAX].map(Address::V6),
        };
        for address in samples {
            for prefix in [0, 1, 8, 24, like.bits() - 2, like.bits() - 1, like.bits()] {
                let value = Inet { address, prefix };
                let network = Inet { address: masked(value), prefix };
                let pairs = [
                    (self.construct(py, &self.address, value, false)?, self.address(py, address)?),
                    (self.construct(py, &self.interface, value, true)?, self.interface(py, value)?),
                    (self.construct(py, &self.network, network, true)?, self.network(py, network)?),
                ];
                for (theirs, ours) in &pairs {
                    if !same(theirs, ours)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// By the class itself.
    fn construct<'py>(&self, py: Python<'py>, class: &Py<PyType>, value: Inet, with_prefix: bool) -> Converted<'py> {
        let number = number(py, value.address)?;
        if with_prefix { class.bind(py).call1(((number, value.prefix),)) } else { class.bind(py).call1((number,)) }
    }

    fn address<'py>(&self, py: Python<'py>, address: Address) -> Converted<'py> {
        let Some(fill) = &self.fill else {
            return self.construct(py, &self.address, Inet { address, prefix: 0 }, false);
        };
        let made = fill.allocate(py, &self.address, address)?;
        // It refers to an int only.
        slots::untrack(&made);
        Ok(made)
    }

    fn interface<'py>(&self, py: Python<'py>, value: Inet) -> Converted<'py> {
        let Some((fill, netmask)) = self.ordinary(py, value) else {
            return self.construct(py, &self.interface, value, true);
        };
        let made = fill.allocate(py, &self.interface, value.address)?;
        let network = self.network(py, Inet { address: masked(value), prefix: value.prefix })?;
        slots::set(&made, intern!(py, "network"), &network)?;
        slots::set(&made, intern!(py, "netmask"), netmask)?;
        slots::set(&made, intern!(py, "_prefixlen"), value.prefix.into_pyobject(py)?.as_any())?;
        Ok(made)
    }

    fn network<'py>(&self, py: Python<'py>, value: Inet) -> Converted<'py> {
        let Some((_, netmask)) = self.ordinary(py, value) else {
            return self.construct(py, &self.network, value, true);
        };
        let made = slots::allocate(self.network.bind(py))?;
        slots::set(&made, intern!(py, "network_address"), &self.address(py, value.address)?)?;
        slots::set(&made, intern!(py, "netmask"), netmask)?;
        slots::set(&made, intern!(py, "_prefixlen"), value.prefix.into_pyobject(py)?.as_any())?;
        Ok(made)
    }

    /// A network of one or two addresses has a function among its attributes, which only its constructor can make.
    fn ordinary<'py>(&self, py: Python<'py>, value: Inet) -> Option<(&Fill, &Bound<'py, PyAny>)> {
        let fill = self.fill.as_ref().filter(|_| value.prefix < value.address.bits() - 1)?;
        Some((fill, fill.netmasks.get(usize::from(value.prefix))?.bind(py)))
    }
}

impl Fill {
    fn allocate<'py>(&self, py: Python<'py>, class: &Py<PyType>, address: Address) -> Converted<'py> {
        let made = slots::allocate(class.bind(py))?;
        self.ip.put(&made, number(py, address)?)?;
        if let Some(scope) = &self.scope {
            scope.set(&made, py.None().bind(py))?;
        }
        Ok(made)
    }
}

/// The address without its host bits.
const fn masked(value: Inet) -> Address {
    let host = value.address.bits() - value.prefix;
    match value.address {
        Address::V4(address) => Address::V4(match u32::MAX.checked_shl(host as u32) {
            Some(mask) => address & mask,
            None => 0,
        }),
        Address::V6(address) => Address::V6(match u128::MAX.checked_shl(host as u32) {
            Some(mask) => address & mask,
            None => 0,
        }),
    }
}

/// Whether two instances of a class hold the same: every slot but that of weak references, every attribute in order.
fn same(theirs: &Bound<'_, PyAny>, ours: &Bound<'_, PyAny>) -> PyResult<bool> {
    let class = theirs.get_type();
    if !class.is(ours.get_type()) || !theirs.eq(ours)? || theirs.str()?.to_str()? != ours.str()?.to_str()? {
        return Ok(false);
    }
    for base in class.mro() {
        let Ok(names) = base.getattr("__slots__") else { continue };
        for name in names.try_iter()? {
            let name = name?.cast_into::<PyString>()?;
            if name == "__weakref__" {
                continue;
            }
            if !theirs.getattr(&name)?.eq(ours.getattr(&name)?)? {
                return Ok(false);
            }
        }
    }
    match (theirs.getattr("__dict__"), ours.getattr("__dict__")) {
        (Ok(theirs), Ok(ours)) => {
            let (theirs, ours) = (theirs.cast_into::<PyDict>()?, ours.cast_into::<PyDict>()?);
            if !theirs.keys().eq(ours.keys())? {
                return Ok(false);
            }
            for (name, value) in &theirs {
                let mine = ours.get_item(&name)?;
                // The function of a small network is another one each time.
                if !mine.is_some_and(|mine| name.eq("hosts").unwrap_or(false) || mine.eq(&value).unwrap_or(false)) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Err(_), Err(_)) => Ok(true),
        _ => Ok(false),
    }
}

fn build(py: Python<'_>, value: Inet) -> Converted<'_> {
    let family = Family::of(py, value.address)?;
    if value.prefix == value.address.bits() { family.address(py, value.address) } else { family.interface(py, value) }
}

fn build_cidr(py: Python<'_>, value: Inet) -> Converted<'_> {
    Family::of(py, value.address)?.network(py, value)
}

pub(super) fn decode<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_binary(raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build(py, wire::decode_text(raw, false).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_cidr<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let value = wire::decode_binary(raw).map_err(|e| refuse(py, &e))?;
    build_cidr(py, value)
}

pub(super) fn decode_cidr_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    build_cidr(py, wire::decode_text(raw, true).map_err(|e| refuse(py, &e))?)
}

/// Addresses, interfaces (inet only), networks, and text.
pub(super) fn encode(value: &Bound<'_, PyAny>, cidr: bool, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let inet = if let Ok(text) = value.cast::<PyString>() {
        wire::decode_text(text.to_string_lossy().as_bytes(), cidr).map_err(|e| refuse(py, &e))?
    } else {
        match read(value, cidr)? {
            Some(inet) => inet,
            None if cidr => return Err(wrong_type(value, "IPv4Network or IPv6Network for cidr (or an address)")),
            None => return Err(wrong_type(value, "an address, interface or network of ipaddress")),
        }
    };
    wire::encode_binary(inet, cidr, out).map_err(|e| refuse(py, &e))
}

fn read(value: &Bound<'_, PyAny>, cidr: bool) -> PyResult<Option<Inet>> {
    let py = value.py();
    for like in [Address::V4(0), Address::V6(0)] {
        let family = Family::of(py, like)?;
        // An interface is an address to Python, so it is asked first.
        let (number, prefix) = if value.is_instance(family.interface.bind(py))? {
            if cidr {
                return Err(wrong_type(
                    value,
                    "a network for cidr (an interface would lose its address: pass its .network)",
                ));
            }
            (value, value.getattr(intern!(py, "network"))?.getattr(intern!(py, "prefixlen"))?.extract()?)
        } else if value.is_instance(family.address.bind(py))? {
            (value, like.bits())
        } else if value.is_instance(family.network.bind(py))? {
            (&value.getattr(intern!(py, "network_address"))?, value.getattr(intern!(py, "prefixlen"))?.extract()?)
        } else {
            continue;
        };
        let number = int_of(number)?;
        let address = match like {
            Address::V4(_) => Address::V4(number.extract()?),
            Address::V6(_) if has_scope(value)? => {
                return Err(wrong_type(value, "an address without a scope, which PostgreSQL cannot keep"));
            }
            Address::V6(_) => Address::V6(number.extract()?),
        };
        return Ok(Some(Inet { address, prefix }));
    }
    Ok(None)
}

fn int_of<'py>(value: &Bound<'py, PyAny>) -> Converted<'py> {
    value.call_method0(intern!(value.py(), "__int__"))
}

fn has_scope(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let address = value.getattr_opt(intern!(py, "network_address"))?;
    let scope = address.as_ref().unwrap_or(value).getattr_opt(intern!(py, "scope_id"))?;
    Ok(scope.is_some_and(|scope| !scope.is_none()))
}
