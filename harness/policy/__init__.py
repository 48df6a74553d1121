"""What Azure's network does to a packet, told from configuration alone. Pure: nothing here does I/O.

To read one flow: ``explain`` (the entry), ``ends`` (whom the names mean), ``journey`` (there and back),
``ports``, ``hops`` and ``edge`` (who judges, routes, lets in and out), ``security`` and ``routing`` (rules
and routes as ``compiled`` prepares them), ``fix``. All pairs: ``classes``, ``tables``, ``porttables``,
``paths``, ``reachability``; the internet's side: ``places``, ``ways_out``, ``outside``; two networks:
``joint``, ``difference``.
"""
