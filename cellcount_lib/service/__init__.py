"""The service of a laboratory: ``cellcount serve``.

Pictures come in by `projects`, are counted in `jobs` by the process of `worker`, and go out as
tables, overlays and archives. `labelstudio` labels them beforehand and learns from corrections by
`retrain`. `store` is the folder of all that, with its SQLite database; only one service works in it
(`locking`). `accounts` says who there is, `people` has the routes for them, `access` says who may
do what and how often, `settings` how much. `app` puts it together, `command` starts it.
"""
