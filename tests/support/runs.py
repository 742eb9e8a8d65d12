"""What a test does to a query: run it, let it die, look at its table."""

from orchestration import available_now


class Crash(BaseException):
    """The process would be dead now."""


class Runs:
    """A query made anew for each run. Subclasses give ``name``, ``query``, ``settings`` and ``clock``."""

    def run(self, trigger=None, **options):
        return self.query.execute(trigger or available_now(), clock=self.clock, **options).batches

    def crash_at(self, point, trigger=None):
        """Run until ``point`` and die there; true when it was reached."""

        def reach(name):
            if name == point:
                raise Crash(point)

        try:
            self.run(trigger, reach=reach)
        except Crash:
            return True
        return False

    @property
    def uri(self):
        return self.settings.tables_uri(self.name)
