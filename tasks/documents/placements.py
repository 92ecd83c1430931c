"""Placements of collections: in which embedding models, and so in which stores, their points are."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.catalog import Catalog, Claim, Collection, Document
from tasks.documents.embedding_models import Model, Models, Placement, location

log = logging.getLogger(__name__)


class Placements:
    """Keeps the placement of every collection, and moves collections to the models that they are to be in.

    Used by the indexer's thread alone.
    """

    def __init__(self, catalog: Catalog, models: Models) -> None:
        self._catalog = catalog
        self._models = models
        #: By the key of a collection's points.
        self._placements: dict[str, Placement] = {}
        self._moving: list[Collection] = []
        #: Points to be deleted: a model, and the key of a collection that is no longer in it.
        self._orphaned: list[tuple[Model, str]] = []

    def of(self, collection_key: str) -> Placement | None:
        """Return the placement of a collection, or None if it has none yet."""
        return self._placements.get(collection_key)

    def has_document(self, model: Model, document: Document) -> bool:
        """Return whether this model may hold points of a document. True if its collection has no placement yet."""
        placement = self._placements.get(document.collection_key)
        return placement is None or model in placement.all

    def refresh(self) -> None:
        """Compare where each collection is with where it is to be, and start the moves that follow.

        A collection that is to be in another model moves there, and search continues in the one that it is in. If that
        one is not loaded, or its points are gone, the documents are hidden and indexed again.
        """
        collections = self._catalog.placed_collections()
        if any([self._refresh(collection) for collection in collections]):
            collections = self._catalog.placed_collections()
        self._placements = {one.point_key: self._models.placement(one) for one in collections}
        self._moving = [one for one in collections if one.next_store]

    def place_new(self) -> None:
        """Place the collections that have no placement yet. The others, of which documents may be in work, stay."""
        new = [one for one in self._catalog.placed_collections() if one.point_key not in self._placements]
        if any([self._refresh(collection) for collection in new]):
            keys = {one.point_key for one in new}
            new = [one for one in self._catalog.placed_collections() if one.point_key in keys]
        self._placements |= {one.point_key: self._models.placement(one) for one in new}

    def _refresh(self, collection: Collection) -> bool:
        """Return whether the collection's row was changed."""
        wanted, current = self._models.wanted(collection).record, collection.store
        if current is None or location(current) == location(wanted):
            if current == wanted and collection.next_store is None:
                return False
            self._orphan(collection, self._models.holding(collection.next_store))
            self._catalog.place_collection(collection.id, wanted)
        elif self._models.holding(current) is None:
            count = self._catalog.replace_collection(collection.id, wanted)
            log.warning(
                "%s is in a vector store (%s, %s) that is not here: %d documents are indexed again in (%s, %s)",
                collection.name, current.store_id, current.embedding_model, count, wanted.store_id,
                wanted.embedding_model,
            )  # fmt: skip
        elif collection.next_store is None or location(collection.next_store) != location(wanted):
            self._orphan(collection, self._models.holding(collection.next_store))
            self._catalog.begin_move(collection.id, wanted)
            log.info("%s moves from %s to %s", collection.name, current.embedding_model, wanted.embedding_model)
        else:
            return False
        return True

    def finish_moves(self) -> int:
        """Switch collections to the model that has all of their documents now. Return how many were switched.

        Documents that such a model still lacks are queued for it.
        """
        if not self._moving:
            return 0
        self._catalog.queue_for_next()
        return sum(self._finish_move(collection) for collection in self._moving)

    def _finish_move(self, collection: Collection) -> bool:
        lost = self._catalog.finish_move(collection.id)
        if lost is None:
            return False
        placement = self._placements[collection.point_key]
        name = placement.all[-1].record.embedding_model
        log.info("%s answers for %s now; %d documents could not be read again", name, collection.name, lost)
        self._orphan(collection, placement.serving)
        return True

    def _orphan(self, collection: Collection, model: Model | None) -> None:
        """Leave a collection's points in a model to `delete_orphaned`, since a search may still be reading them."""
        if model is not None:
            self._orphaned.append((model, collection.point_key))

    def delete_orphaned(self) -> None:
        """Delete the points that moves have orphaned."""
        while self._orphaned:
            model, key = self._orphaned[0]
            if (placement := self._placements.get(key)) is None or model not in placement.all:
                model.store.delete_collections([key])
            del self._orphaned[0]

    def delete_unreachable(self) -> None:
        """Delete points of collections that are not in the model, left by a process that was killed meanwhile."""
        for model in self._models.all:
            keys = [key for key, placement in self._placements.items() if model not in placement.all]
            model.store.delete_collections(keys)

    def group(self, claims: Sequence[Claim]) -> dict[Placement, list[Claim]]:
        """Return the claims by placement, in their order, without those whose collection has none yet."""
        found: dict[Placement, list[Claim]] = {}
        for claim in claims:
            if (placement := self._placements.get(claim.document.collection_key)) is not None:
                found.setdefault(placement, []).append(claim)
        return found

    def unplaced(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims whose collection has no placement yet."""
        return [claim for claim in claims if claim.document.collection_key not in self._placements]
