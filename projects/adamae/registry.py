"""The scope ``adamae``, for configs that inherit from ``adamae::adamae/...``.

All components are in MMAction2's registries. MMEngine gives what comes through such a
base the scope of its package, and then looks for registries of that scope. Those here
hold nothing, so that the search goes on in their parents.
"""

from mmaction import registry
from mmengine.config import utils
from mmengine.registry import Registry

SCOPE = 'adamae'


def _add_scope() -> None:
    for parent in vars(registry).values():
        if isinstance(parent, Registry) and parent.scope == 'mmaction':
            # A search that goes on in a parent does not import its modules. One of
            # them is not there in MMAction2 1.2.0, where nobody searches for functions.
            missing = 'mmaction.mmengine'
            locations = [name for name in parent._locations if name != missing]
            Registry(parent.name, parent=parent, scope=SCOPE, locations=locations)


_add_scope()
# MMEngine looks for `.mim` in the folder of a distribution of this name, which is
# another one if the package is installed as a link to a checkout. Of a module, which is
# no distribution, it takes the folder.
utils.MODULE2PACKAGE[SCOPE] = 'adamae.registry'
