"""xml as text: what a document says of its encoding does not change how it travels."""

from __future__ import annotations

import pytest

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError, NotSupportedError

pytestmark = [pytest.mark.pg, pytest.mark.row("V22", "T03")]

DOCUMENTS = ["<a>é名</a>", "<a/>", "text only", "<a b='c'>&lt;</a>", '<?xml version="1.0" encoding="utf-8"?><a>é</a>',
             '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><a>é</a>', '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>',
             '<?xml version="1.1"?><a>é</a>']  # fmt: skip


async def has_xml(db):
    """The embedded server's build has the type, but reads no documents."""
    try:
        await db.fetch_value("select '<a/>'::xml")
    except NotSupportedError:
        return False
    return True


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_documents(db, document):
    """Whatever a document says of its encoding, it travels as what it is."""
    if not await has_xml(db):
        pytest.skip("this server is built without libxml")
    literal = "'" + document.replace("'", "''") + "'"
    # The text cast gives what is stored, its declaration included; as a result the server leaves out an encoding that is no
    # longer true.
    found = await sent(db, "xml", document)
    assert found.text == document
    read = await same(db, f"{literal}::xml")
    assert found.back == read
    if "encoding" not in document:
        assert read == document
    assert ("é" in read) == ("é" in document)
    await db.execute("create temp table t (x xml, a xml[])")
    await db.copy_in("t", [(document, [document, None]), (None, None)])
    assert await db.fetch_all("select x, a from t") == [(read, [read, None]), (None, None)]


async def test_what_is_no_text(db):
    for value in (5, b"<a/>", "\0"):
        with pytest.raises(DataError, match=r"argument \$1 \(xml\)"):
            await db.fetch_value("select $1::xml", value)
