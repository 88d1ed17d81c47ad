"""The part of an index that changes a collection to another model."""

from __future__ import annotations

from collections.abc import Sequence

from clipindex.index.held import Held
from clipindex.upkeep.switch import ending, rehearse, run
from clipindex.upkeep.switch.ending import Dropped
from clipindex.upkeep.switch.rehearse import Rehearsal, RehearseOptions
from clipindex.upkeep.switch.report import Progress, SwitchOptions, SwitchReport, no_progress


class Switching(Held):
    """A second collection beside the live one, with another model."""

    def switch_model(
        self, new: str, options: SwitchOptions = SwitchOptions(), progress: Progress = no_progress
    ) -> SwitchReport:
        """Fill a collection with the model `new` beside this one, and let it take this one's place
        once it has every picture. Interrupted, or after `max_seconds`, the same call goes on.

        Raises UsageError for the model that it has, Refused where another switch is under way,
        ContractMismatch for another preprocessing than the filling began with.
        """
        return run.switch_model(self.place, new, options, self._loaded, progress)

    def switch_back(
        self, options: SwitchOptions = SwitchOptions(), progress: Progress = no_progress
    ) -> SwitchReport:
        """Make the old collection the live one again, with all that came since the switch. Raises
        UsageError where there is none."""
        return run.switch_back(self.place, options, self._loaded, progress)

    def drop_old(self) -> Dropped:
        """Delete the old collection, which ends the switch. Raises UsageError for none."""
        return ending.drop_old(self.place)

    def cancel_switch(self) -> Dropped:
        """Delete the new collection that is not live. Raises UsageError for none."""
        return ending.cancel(self.place)

    def rehearse(
        self,
        new: str,
        queries: Sequence[str],
        options: RehearseOptions = RehearseOptions(),
        progress: Progress = no_progress,
    ) -> Rehearsal:
        """Ask both models the same over a sample; nothing is changed. Raises UsageError without
        a query or a readable picture."""
        return rehearse.rehearse(self.place, new, queries, options, self._loaded, progress)
