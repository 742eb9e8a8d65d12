"""What changes come to, in the simplest way: one after another in the order of their sequence."""

from dataclasses import dataclass, field
from functools import cmp_to_key


@dataclass
class Row:
    cells: dict
    start: object
    at: object
    end: object = None
    gone: bool = False


@dataclass
class Model:
    """All of a table and its past, made anew from every change."""

    spec: object
    open: dict = field(default_factory=dict)
    closed: list = field(default_factory=list)

    def rows(self, changes):
        """The table's rows after these changes, as tuples in the table's order of columns."""
        by_sequence = {}
        for change in changes:
            by_sequence.setdefault(change["s"], []).append(change)
        for at in sorted(by_sequence):
            self._moment(at, by_sequence[at])
        return sorted(self._listed(), key=repr)

    def _moment(self, at, changes):
        if any(change["op"] == "truncate" for change in changes):
            upserts = [change for change in changes if change["op"] == "upsert"]
            again = {tuple(change[name] for name in self.spec.keys) for change in upserts}
            for key in list(self.open):
                if not (self.spec.spares and key in again):
                    self._end(key, at)
        by_key = {}
        for change in changes:
            if change["op"] != "truncate":
                key = tuple(change[name] for name in self.spec.keys)
                by_key.setdefault(key, []).append(change)
        for key, of_key in by_key.items():
            upserts = [change for change in of_key if change["op"] == "upsert"]
            deleted = len(upserts) < len(of_key)
            if upserts and (not deleted or self.spec.soft_delete):
                self._upsert(key, at, upserts)
            if deleted and key in self.open:
                self._end(key, at)

    def _end(self, key, at):
        if self.spec.soft_delete:
            self.open[key].gone, self.open[key].at = True, at
            return
        row = self.open.pop(key)
        row.end = at
        self.closed.append((key, row))

    def _upsert(self, key, at, upserts):
        given = self._given(upserts)
        row = self.open.get(key)
        if row is None:
            nothing = dict.fromkeys(self.spec.values)
            self.open[key] = Row({**nothing, **given}, at, at)
            return
        after = {**row.cells, **given}
        if self.spec.scd_type == 2 and any(
            after[name] != row.cells[name] for name in self.spec.tracked if name in after
        ):
            self._end(key, at)
            self.open[key] = Row(after, at, at)
            return
        row.cells, row.at, row.gone = after, at, False

    def _given(self, upserts):
        """What the upserts of one key and sequence give, together."""
        if not (self.spec.partial or self.spec.soft_delete):
            best = max(upserts, key=cmp_to_key(self._compare))
            return {name: best[name] for name in self.spec.values}
        given = {}
        for name in self.spec.values:
            values = [change[name] for change in upserts if self._gives(change, name)]
            if values:
                given[name] = max(values, key=lambda value: (value is not None, value or ""))
        return given

    def _gives(self, change, name):
        if self.spec.unchanged and name in (change["unchanged"] or []):
            return False
        return not (name in self.spec.ignore_null_updates and change[name] is None)

    def _compare(self, left, right):
        for name in self.spec.values:
            one, other = left[name], right[name]
            if one != other:
                return 1 if other is None or (one is not None and one > other) else -1
        return 0

    def _listed(self):
        if self.spec.scd_type == 2:
            everything = self.closed + list(self.open.items())
            ends = [(key, row, (row.start, row.end)) for key, row in everything]
        elif self.spec.soft_delete:
            ends = [(key, row, (row.gone, row.at)) for key, row in self.open.items()]
        else:
            ends = [(key, row, (row.at,)) for key, row in self.open.items()]
        for key, row, more in ends:
            by_name = {**dict(zip(self.spec.keys, key, strict=True)), **row.cells}
            yield (*(by_name[name] for name in self.spec.columns), *more)
