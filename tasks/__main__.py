"""Celery's command line with this application: `python -P -m tasks -A tasks worker …`.

`celery -A tasks` imports `tasks` from the working directory first, and a user may have a module of that name there. Run
this way, the package is imported before Celery looks for it.
"""

from celery.__main__ import main

main()
