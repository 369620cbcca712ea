import { createPool } from 'mysql2/promise';
import { MysqlBackend } from 'routing-controllers-sessions/mysql';

const uri = 'mysql://app@127.0.0.1:3306/sessions';
