"""The placements of collections: the embedding models, and so the stores, that hold their points."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.catalog import Catalog, Claim, Collection, Document
from tasks.documents.embedding_models import Model, Models, Placement, location

log = logging.getLogger(__name__)

#: Documents of collections that move to another model which are queued at a time.
QUEUE_LIMIT = 256


class Placements:
    """Holds the placement of every collection, and moves collections to the models that they should be in.

    Only the indexer's thread uses it.
    """

    def __init__(self, catalog: Catalog, models: Models) -> None:
        self._catalog = catalog
        self._models = models
        #: By the key that the points of a collection carry.
        self._placements: dict[str, Placement] = {}
        self._numbers: dict[str, int] = {}
        self._moving: list[Collection] = []
        #: Points to be deleted: the model that holds them, and the key of their collection.
        self._orphaned: list[tuple[Model, str]] = []

    def has_document(self, model: Model, document: Document) -> bool:
        """Return whether this model may hold points of a document. It may if the collection has no placement yet."""
        placement = self._placements.get(document.collection_key)
        return placement is None or model in placement.all

    def refresh(self) -> None:
        """Read the placements, and start to move each collection that should be in another model.

        During a move, the present model serves searches. If it is not loaded or its points are gone, the collection's
        documents are hidden until they are indexed again.
        """
        collections = self._catalog.placed_collections()
        if any([self._refresh(collection) for collection in collections]):
            collections = self._catalog.placed_collections()
        self._placements, self._numbers = {}, {}
        self._keep(collections)
        self._moving = [one for one in collections if one.next_store]

    def place_new(self) -> None:
        """Place new collections. Other placements stay as they are, since documents of theirs may be being indexed."""
        new = [one for one in self._catalog.placed_collections() if one.point_key not in self._placements]
        if any([self._refresh(collection) for collection in new]):
            keys = {one.point_key for one in new}
            new = [one for one in self._catalog.placed_collections() if one.point_key in keys]
        self._keep(new)

    def _keep(self, collections: Sequence[Collection]) -> None:
        self._placements |= {one.point_key: self._models.placement(one) for one in collections}
        self._numbers |= {one.point_key: one.placement for one in collections}

    def numbers(self, claims: Sequence[Claim]) -> dict[str, int]:
        """Return the placement numbers of the claims' collections, by the key of their points."""
        return {claim.document.collection_key: self._numbers[claim.document.collection_key] for claim in claims}

    def _refresh(self, collection: Collection) -> bool:
        """Place one collection, or start or redirect its move. Return whether its row was changed."""
        target, current = self._models.target(collection).record, collection.store
        if current is None or location(current) == location(target):
            if current == target and collection.next_store is None:
                return False
            self._orphan(collection, self._models.with_store(collection.next_store))
            self._catalog.place_collection(collection.id, target)
        elif self._models.with_store(current) is None:
            count = self._catalog.replace_collection(collection.id, target)
            log.warning(
                "the vector store of %s (%s, %s) is not available: %d documents are indexed again in (%s, %s)",
                collection.name, current.store_id, current.embedding_model, count, target.store_id,
                target.embedding_model,
            )  # fmt: skip
        elif collection.next_store is None or location(collection.next_store) != location(target):
            self._orphan(collection, self._models.with_store(collection.next_store))
            self._catalog.begin_move(collection.id, target)
            log.info("%s moves from %s to %s", collection.name, current.embedding_model, target.embedding_model)
        else:
            return False
        return True

    def finish_moves(self) -> int:
        """Switch collections to the next model once it has all of their documents, and queue documents that it lacks.

        Return how many collections were switched, and documents queued: some at a time, since that takes the catalog's
        write lock.
        """
        if not self._moving:
            return 0
        queued = self._catalog.queue_for_next(QUEUE_LIMIT)
        return queued + sum(self._finish_move(collection) for collection in self._moving)

    def _finish_move(self, collection: Collection) -> bool:
        lost = self._catalog.finish_move(collection.id)
        if lost is None:
            return False
        placement = self._placements[collection.point_key]
        name = placement.all[-1].record.embedding_model
        log.info("%s now serves %s; %d documents could not be parsed again", name, collection.name, lost)
        self._orphan(collection, placement.serving)
        return True

    def _orphan(self, collection: Collection, model: Model | None) -> None:
        """Leave a collection's points in a model to `delete_orphaned`, as a search may still be reading them."""
        if model is not None:
            self._orphaned.append((model, collection.point_key))

    def delete_orphaned(self) -> None:
        """Delete the points that ended moves have orphaned."""
        while self._orphaned:
            model, key = self._orphaned[0]
            if (placement := self._placements.get(key)) is None or model not in placement.all:
                model.store.delete_collections([key])
            del self._orphaned[0]

    def delete_unreachable(self) -> None:
        """Delete, in each model, the points of collections that are not in it. A killed process may have left them."""
        for model in self._models.all:
            keys = [key for key, placement in self._placements.items() if model not in placement.all]
            model.store.delete_collections(keys)

    def group(self, claims: Sequence[Claim]) -> dict[Placement, list[Claim]]:
        """Return the claims by placement, in the given order. Omit those whose collection has no placement yet."""
        found: dict[Placement, list[Claim]] = {}
        for claim in claims:
            if (placement := self._placements.get(claim.document.collection_key)) is not None:
                found.setdefault(placement, []).append(claim)
        return found

    def unplaced(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims whose collection has no placement yet."""
        return [claim for claim in claims if claim.document.collection_key not in self._placements]
