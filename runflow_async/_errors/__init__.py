"""The classes of `runflow_async.errors`, by what raises them."""
